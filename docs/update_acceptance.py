"""Writes what the slow tests ask for and what they measured last into docs/serving.md: `make readme`.

With --check it only tells whether the page is up to date (exit status 1 if not).
"""

import json
import sys
from collections.abc import Callable

from update_readme import ROOT, fill

PAGE = ROOT / "docs" / "serving.md"
ACCEPTANCE = ROOT / "benchmarks" / "acceptance"

Told = Callable[..., str]
GOALS: dict[str, tuple[str, list[str], Told]] = {
    "overload": (
        "at five times the capacity: goodput ≥ 90 % of it, p99 of what is accepted within twice that at 80 % load, "
        "all else a 429 with `Retry-After`",
        ["overload"],
        lambda of: f"{of['goodput_of_capacity']:.0%}, {of['p99_of_p99_at_80_percent']:.1f} times",
    ),
    "priorities": (
        "with half of the machine on requests of 1,000 texts, p99 of single texts within three times that without them",
        ["priorities"],
        lambda of: f"{of['p99_of_p99_alone']:.1f} times",
    ),
    "overhead": (
        "single texts over HTTP: ≥ 80 % of the bare engine's throughput (the generator's share of the cores given "
        "back); one client: p50 within 0.5 ms of tokenising and embedding",
        ["overhead-throughput", "overhead-latency"],
        lambda throughput, latency: (
            f"{throughput['front_ends_1']['http_of_bare_without_generator']:.0%}, with two front ends "
            f"{throughput['front_ends_2']['http_of_bare_without_generator']:.0%}; + {latency['more_ms']:.2f} ms"
        ),
    ),
    "soak": (
        "30 minutes (`DISCO_SOAK_MINUTES`) at 80 % load, all kinds of requests, bundles swapped meanwhile: no wrong "
        "vector, no lost request, memory grows ≤ 5 %",
        ["soak"],
        lambda of: (
            f"{of['minutes']:g} minutes, {sum(of['outcomes'].values()):,} requests, {of['checked']:,} answers checked, "
            f"{of['swaps']} swaps, memory {of['memory_growth']:+.1%}"
        ),
    ),
    "crash": (
        "an engine is killed with -9 in the middle of a batch, at half load: nobody waits longer than 1 s, the server "
        "is healthy again within 5 s",
        ["crash"],
        lambda of: (
            f"{of['outcomes'].get('HTTP 503', 0)} of {sum(of['outcomes'].values()):,} requests a 503, longest wait "
            f"{of['longest_wait_seconds']:.2f} s, healthy after {of['recovery_seconds']:.1f} s"
        ),
    ),
    "termination": (
        "SIGTERM at twice the capacity: whoever was heard is answered, `/ready` says 503 first, exit status 0",
        ["termination"],
        lambda of: f"{sum(of['heard'].values()):,} heard, all answered, status {of['exit_status']}",
    ),
    "start": ("ready within 1.5 s", ["start"], lambda of: f"{of['median_seconds']:.2f} s"),
}
"""By test: what must hold, the figures' files, and how they are told."""


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
    lines = ["| test | must hold | measured |", "|---|---|---|"]
    for test, (goal, files, told) in GOALS.items():
        records = [ACCEPTANCE / f"{file}.json" for file in files]
        figures = [json.loads(path.read_text())["figures"] for path in records if path.is_file()]
        lines.append(f"| {test} | {goal} | {told(*figures) if len(figures) == len(files) else 'not yet'} |")
    newest = max((json.loads(path.read_text()) for path in ACCEPTANCE.glob("*.json")), key=lambda one: one["date"])
    machine = f"{newest['cores']} cores, {newest['processor']}, {newest['date'][:10]}"
    note = f"{machine}, `make test-all`; what misses its goal is in [the log](LOG.md)."
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    sys.exit(main())
