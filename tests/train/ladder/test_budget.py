import pytest

from bundle.sts import StsScores
from train.errors import BudgetError
from train.ladder.budget import Budget, choose_rung, describe_choice, parse_latency, parse_size
from train.ladder.rungs import Ladder, Rung
from train.retrieval import RetrievalScores


def rung(name: str, *, ratio: float, megabytes: float, sts: float, retrieval: float) -> Rung:
    return Rung(
        name=name,
        precision="int8",
        parameters=1000,
        bytes=round(megabytes * 1e6),
        latency_ms=0.8 * ratio,
        latency_ratio=ratio,
        tokens_per_second={"short": 30_000, "long": 20_000},
        throughput_ratios={"short": 1 / ratio, "long": 1 / ratio},
        sts=StsScores({"STSB": sts}, sts),
        retrieval=RetrievalScores({"wikipedia": retrieval}, retrieval),
    )


LADDER = Ladder(
    created="2026-11-21T00:00:00+00:00",
    commit="abc1234",
    cpu="a CPU",
    engine="an engine",
    rungs=[
        rung("disco-minilm-static", ratio=0.1, megabytes=12, sts=74, retrieval=60),
        rung("disco-minilm-l1", ratio=0.5, megabytes=14, sts=78, retrieval=70),
        rung("disco-minilm-l2", ratio=0.7, megabytes=16, sts=81, retrieval=76),
        rung("disco-minilm-l3", ratio=1.0, megabytes=18, sts=82, retrieval=74),
        rung("all-MiniLM-L6-v2", ratio=0.05, megabytes=5, sts=99, retrieval=99),
    ],
)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("1ms", 1), ("0.5 ms", 0.5), ("800us", 0.8), ("800µs", 0.8), ("800μs", 0.8), ("0.001 s", 1), (" .5MS ", 0.5)],
)
def test_times_are_read_in_milliseconds(text: str, milliseconds: float) -> None:
    assert parse_latency(text) == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("15MB", 15e6), ("900 kB", 9e5), ("1.5GB", 1.5e9), ("16MiB", 2**24), ("1 KiB", 1024), ("20000000b", 2e7)],
)
def test_sizes_are_read_in_bytes(text: str, size: float) -> None:
    assert parse_size(text) == pytest.approx(size)


@pytest.mark.parametrize("text", ["1", "ms", "-1ms", "0ms", "1 minute", "1,5ms", "1e3ms", "15MB", "", "nanms"])
def test_what_is_no_time_is_told_with_the_units(text: str) -> None:
    with pytest.raises(BudgetError, match=r"is not a time such as 1ms.*units: us"):
        parse_latency(text)


def test_what_is_no_size_is_told_with_the_units() -> None:
    with pytest.raises(BudgetError, match=r"'1ms' is not a size such as 15MB.*units: b, kb"):
        parse_size("1ms")


@pytest.mark.parametrize(
    ("budget", "reference_ms", "expected"),
    [
        (Budget(milliseconds=1), 1.0, "disco-minilm-l2"),  # of higher quality, all told, than l3
        (Budget(milliseconds=1), 2.0, "disco-minilm-l1"),  # on a machine half as fast
        (Budget(milliseconds=1), 1.9, "disco-minilm-l1"),
        (Budget(milliseconds=0.1), 1.0, "disco-minilm-static"),
        (Budget(bytes=15e6), None, "disco-minilm-l1"),
        (Budget(bytes=12e6), None, "disco-minilm-static"),
        (Budget(milliseconds=10, bytes=15e6), 1.0, "disco-minilm-l1"),
        (Budget(milliseconds=0.2, bytes=100e6), 1.0, "disco-minilm-static"),
    ],
)
def test_the_best_rung_within_the_budget_is_chosen(budget: Budget, reference_ms: float | None, expected: str) -> None:
    assert choose_rung(LADDER, budget, reference_ms=reference_ms).rung.name == expected


def test_what_was_chosen_and_why_is_one_line() -> None:
    budget = Budget(milliseconds=1, bytes=17e6)
    told = describe_choice(choose_rung(LADDER, budget, reference_ms=1.2), budget)
    assert told == ("best within 1 ms and 17 MB: disco-minilm-l2 (0.84 ms here, 16.0 MB; STS 81.00, retrieval 76.00)")


def test_where_nothing_fits_the_rungs_are_listed() -> None:
    with pytest.raises(BudgetError, match=r"no student is within 0\.05 ms") as error:
        choose_rung(LADDER, Budget(milliseconds=0.05), reference_ms=1.0)
    message = str(error.value)
    assert "disco-minilm-static (0.1 ms here, 12.0 MB" in message
    assert "disco-minilm-l3" in message
    assert "all-MiniLM-L6-v2" not in message, "the teacher cannot be trained"
