"""Writes what the slow tests ask for and what they measured last into docs/serving.md: `make readme`.

With --check it only tells whether the page is up to date (exit status 1 if not).
"""

import json
import sys
from collections.abc import Callable
from typing import NamedTuple

from update_readme import ROOT, fill

PAGE = ROOT / "docs" / "serving.md"
ACCEPTANCE = ROOT / "benchmarks" / "acceptance"


class Goal(NamedTuple):
    """What a test asks for."""

    must_hold: str
    files: list[str]
    """The records of its figures."""
    told: Callable[..., str]
    holds: Callable[..., bool]
    """As the test has it."""


GOALS = {
    "overload": Goal(
        "server on one core, `--max-queue-seconds 0.05`, five times its capacity: goodput ≥ 90 % of it, p99 of what is "
        "accepted within twice that at 80 % load, all else a 429 with `Retry-After`",
        ["overload"],
        lambda of: f"{of['goodput_of_capacity']:.0%}, {of['p99_of_p99_at_80_percent']:.1f} times",
        lambda of: of["goodput_of_capacity"] >= 0.9 and of["p99_of_p99_at_80_percent"] <= 2,
    ),
    "priorities": Goal(
        "server on one core, with half of it on requests of 1,000 texts, p99 of single texts within three times that "
        "without them",
        ["priorities"],
        lambda of: f"{of['p99_of_p99_alone']:.1f} times",
        lambda of: of["p99_of_p99_alone"] <= 3,
    ),
    "overhead": Goal(
        "single texts over HTTP: ≥ 80 % of the bare engine's throughput (the generator's share of the cores given "
        "back); one client: p50 within 0.5 ms of tokenising and embedding",
        ["overhead-throughput", "overhead-latency"],
        lambda throughput, latency: (
            f"{throughput['front_ends_1']['http_of_bare_without_generator']:.0%}, with two front ends "
            f"{throughput['front_ends_2']['http_of_bare_without_generator']:.0%}; + {latency['more_ms']:.2f} ms"
        ),
        lambda throughput, latency: (
            max(throughput[f"front_ends_{n}"]["http_of_bare_without_generator"] for n in (1, 2)) >= 0.8
            and latency["more_ms"] <= 0.5
        ),
    ),
    "soak": Goal(
        "30 minutes (`DISCO_SOAK_MINUTES`) at 80 % load, all kinds of requests, bundles swapped meanwhile: no wrong "
        "vector, no lost request, memory grows ≤ 5 %",
        ["soak"],
        lambda of: (
            f"{of['minutes']:g} minutes, {sum(of['outcomes'].values()):,} requests, {of['checked']:,} answers checked, "
            f"{of['swaps']} swaps, memory {of['memory_growth']:+.1%}"
        ),
        lambda of: of["memory_growth"] <= 0.05,
    ),
    "crash": Goal(
        "an engine is killed with -9 in the middle of a batch, at half load: nobody waits longer than 1 s, the server "
        "is healthy again within 5 s",
        ["crash"],
        lambda of: (
            f"{of['outcomes'].get('HTTP 503', 0)} of {sum(of['outcomes'].values()):,} requests a 503, longest wait "
            f"{of['longest_wait_seconds']:.2f} s, healthy after {of['recovery_seconds']:.1f} s"
        ),
        lambda of: of["longest_wait_seconds"] <= 1 and of["recovery_seconds"] <= 5,
    ),
    "termination": Goal(
        "SIGTERM at twice the capacity: whoever was heard is answered, `/ready` says 503 first, exit status 0",
        ["termination"],
        lambda of: (
            f"{sum(of['heard'].values()):,} heard, all answered ({of['heard'].get('HTTP 429', 0):,} by a 429), status "
            f"{of['exit_status']}"
        ),
        lambda of: of["exit_status"] == 0,
    ),
    "start": Goal(
        "ready within 1.5 s",
        ["start"],
        lambda of: (
            f"{of['median_seconds']:.2f} s (median of {len(of['seconds'])}, the longest {max(of['seconds']):.2f})"
        ),
        lambda of: of["median_seconds"] <= 1.5,
    ),
}


def main() -> int:
    """Rewrite or check the marked part."""
    old = PAGE.read_text(encoding="utf-8")
    new = fill(old, "acceptance", acceptance_table())
    if "--check" in sys.argv[1:]:
        return 0 if new == old else 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


def acceptance_table() -> str:
    """What the slow tests ask for, and what they measured last."""
    lines = ["| test | must hold | measured | holds |", "|---|---|---|---|"]
    for test, goal in GOALS.items():
        records = [ACCEPTANCE / f"{file}.json" for file in goal.files]
        if not all(path.is_file() for path in records):
            lines.append(f"| {test} | {goal.must_hold} | not yet | |")
            continue
        figures = [json.loads(path.read_text())["figures"] for path in records]
        verdict = "yes" if goal.holds(*figures) else "**no**"
        lines.append(f"| {test} | {goal.must_hold} | {goal.told(*figures)} | {verdict} |")
    newest = max((json.loads(path.read_text()) for path in ACCEPTANCE.glob("*.json")), key=lambda one: one["date"])
    machine = f"{newest['cores']} cores, {newest['processor']}, {newest['date'][:10]}"
    note = f"{machine}, `make test-all`; what does not hold, and why, is in [the log](LOG.md)."
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    sys.exit(main())
