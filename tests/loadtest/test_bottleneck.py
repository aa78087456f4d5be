import numpy as np

from loadtest.bottleneck import find_bottlenecks
from loadtest.measurement import OK, Measurement


def make_measurement(*, latency: float, lag: float, cpu_share: float = 0.1) -> Measurement:
    return Measurement(
        seconds=1,
        latencies=np.full(100, latency),
        lags=np.full(100, lag),
        outcomes=[OK] * 100,
        answered=100,
        unfinished=0,
        cpu_share=cpu_share,
        ending="complete",
    )


def test_a_sound_run_is_trusted() -> None:
    assert find_bottlenecks(make_measurement(latency=0.01, lag=0.0001)) == []


def test_a_busy_core_is_named() -> None:
    (reason,) = find_bottlenecks(make_measurement(latency=0.01, lag=0, cpu_share=0.95))
    assert "95% of a core" in reason


def test_lag_matters_in_relation_to_latency() -> None:
    (reason,) = find_bottlenecks(make_measurement(latency=0.02, lag=0.01))
    assert "lag is 10.0 ms" in reason
    assert find_bottlenecks(make_measurement(latency=1.0, lag=0.01)) == []
    assert find_bottlenecks(make_measurement(latency=0.002, lag=0.001)) == []  # what any scheduler does
