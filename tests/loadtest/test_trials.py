import asyncio
from collections.abc import Callable

from loadtest.capacity import Search
from loadtest.checking import WRONG
from loadtest.measurement import OK, Measurement
from loadtest.slo import parse_objective
from loadtest.trials import Conclusion, Trial, find_capacity
from tests.loadtest.conftest import make_measurement

CAPACITY = 300.0


def overloaded_from_there_on(rate: float) -> Measurement:
    return make_measurement([0.005 if rate <= CAPACITY else 0.5] * 100)


def find(respond: Callable[[float], Measurement]) -> tuple[Conclusion, list[Trial], Search]:
    async def measure(rate: float) -> Measurement:
        return respond(rate)

    search = Search(first=100, lowest=1, highest=10_000, resolution=0.05)
    seen: list[Trial] = []
    conclusion, trials = asyncio.run(find_capacity(search, [parse_objective("p99=20ms")], measure, watch=seen.append))
    assert seen == trials
    return conclusion, trials, search


def test_the_highest_rate_that_holds() -> None:
    conclusion, trials, search = find(overloaded_from_there_on)
    assert conclusion == "found"
    assert search.held is not None
    assert CAPACITY / 1.05 <= search.held <= CAPACITY
    assert search.held == max(trial.rate for trial in trials if trial.holds)
    assert [trial.holds for trial in trials] == [trial.rate <= CAPACITY for trial in trials]


def test_a_generator_that_is_late_proves_nothing_about_the_server() -> None:
    def late(rate: float) -> Measurement:
        return make_measurement([0.005 if rate < 200 else 0.5] * 100, lag=0.4 if rate >= 200 else 0)

    conclusion, trials, search = find(late)
    assert conclusion == "the generator is the bottleneck"
    assert search.held == 100
    assert search.failed is None  # nobody is told that 200 requests/s were too many
    assert trials[-1].bottlenecks


def test_a_rate_that_holds_is_proved_by_whatever_generator() -> None:
    def busy(rate: float) -> Measurement:
        return make_measurement([0.005 if rate <= CAPACITY else 0.5] * 100, cpu_share=0.95 if rate <= CAPACITY else 0.5)

    assert find(busy)[0] == "found"


def test_refusing_does_not_help() -> None:
    def refuse(rate: float) -> Measurement:
        failed = 0 if rate <= CAPACITY else 2
        return make_measurement([0.001] * 100, outcomes=[OK] * (100 - failed) + ["HTTP 429"] * failed)

    conclusion, trials, search = find(refuse)
    assert conclusion == "found"
    assert search.held is not None
    assert search.held <= CAPACITY
    assert trials[2].errors == {"HTTP 429": 2}


def test_what_ends_a_search_early() -> None:
    def when_over_300(ending: Callable[[], Measurement]) -> Conclusion:
        return find(lambda rate: overloaded_from_there_on(rate) if rate <= CAPACITY else ending())[0]

    assert when_over_300(lambda: make_measurement([0.001], outcomes=["cannot connect"])) == "no request succeeded"
    assert when_over_300(lambda: make_measurement([0.001] * 2, outcomes=[OK, WRONG])) == "wrong vectors"
    assert when_over_300(lambda: make_measurement([0.001], ending="interrupted")) == "interrupted"


def test_too_many_errors_hold_nothing() -> None:
    def give_up(_rate: float) -> Measurement:
        return make_measurement([0.001] * 100, ending="too many errors")

    conclusion, trials, _ = find(give_up)
    assert conclusion == "no rate holds"
    assert not any(trial.holds for trial in trials)
