from loadtest.bottleneck import find_bottlenecks
from tests.loadtest.conftest import make_measurement


def test_a_sound_run_is_trusted() -> None:
    assert find_bottlenecks(make_measurement([0.01] * 100, lag=0.0001)) == []


def test_a_busy_core_is_named() -> None:
    (reason,) = find_bottlenecks(make_measurement([0.01] * 100, lag=0, cpu_share=0.95))
    assert "95% of a core" in reason


def test_lag_matters_in_relation_to_latency() -> None:
    (reason,) = find_bottlenecks(make_measurement([0.02] * 100, lag=0.01))
    assert "lag is 10.0 ms" in reason
    assert find_bottlenecks(make_measurement([1.0] * 100, lag=0.01)) == []
    assert find_bottlenecks(make_measurement([0.002] * 100, lag=0.001)) == []  # what any scheduler does
