"""Writes the tables of engines, graph forms, operators and rungs into the docs from committed JSON: `make readme`.

With --check it only tells whether the pages are up to date (exit status 1 if not).
"""

import json
import sys
from pathlib import Path
from typing import Any

from update_readme import ROOT, fill

DOCS = ROOT / "docs"
ENGINES = [ROOT / "benchmarks" / name for name in ("engine-amx.json", "engine.json")]
"""The last run of `make bench-engine`, and one kept of a machine with AMX."""
LADDER = ROOT / "benchmarks" / "ladder.json"
TUNING = ROOT / "benchmarks" / "tuning.json"
"""The `tuning.json` of a bundle of the teacher."""
BASELINE = "ONNX Runtime, O3 + quantize_dynamic"
LEAST_SHARE = 0.01
"""Operators that never take as much of the time are left out."""
NOT_YET = "*Not measured yet.*"


def main() -> int:
    """Rewrite or check the marked parts of the pages."""
    sections = {
        "export.md": {"engines": "\n\n".join(map(engines_table, ENGINES)), "forms": forms_table()},
        "training.md": {"ladder": ladder_table()},
        "benchmarks.md": {"operators": operators_table()},
    }
    is_current = True
    for page, contents in sections.items():
        old = new = (DOCS / page).read_text(encoding="utf-8")
        for name, content in contents.items():
            new = fill(new, name, content)
        is_current = is_current and new == old
        if "--check" not in sys.argv[1:]:
            (DOCS / page).write_text(new, encoding="utf-8")
    return 1 if "--check" in sys.argv[1:] and not is_current else 0


def engines_table(file: Path) -> str:
    """Thousands of tokens a second by engine and load, with the multiple of the baseline, for each model."""
    record = json.loads(file.read_text())
    parts = []
    for model in dict.fromkeys(row["model"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["model"] == model]
        shapes = list(dict.fromkeys(row["shape"] for row in rows))
        speeds = {(row["engine"], row["shape"]): row["tokens_per_s"] for row in rows}
        lines = [f"| {model} | {' | '.join(shape.replace('x', ' × ') for shape in shapes)} |"]
        lines.append("|---|" + "---|" * len(shapes))
        for engine in dict.fromkeys(row["engine"] for row in rows):
            cells = [
                f"{speeds[engine, shape] / 1000:.1f} (×{speeds[engine, shape] / speeds[BASELINE, shape]:.2f})"
                for shape in shapes
            ]
            lines.append(f"| {engine} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    machine = record["machine"]
    arithmetic = f"{machine['processor']} with {', '.join(machine['features'])}"
    note = (
        f"Thousands of tokens/s on one thread, texts × tokens; in brackets against {BASELINE}. {arithmetic}; "
        f"ONNX Runtime {machine['onnxruntime']}, {machine['date'][:10]}, commit {machine['commit']} "
        "(`make bench-engine`)."
    )
    return "\n\n".join([*parts, note])


def operators_table() -> str:
    """Microseconds a token of every kind of operator that matters, for the whole model of the last run."""
    record = json.loads(ENGINES[-1].read_text())
    if not record.get("operators"):
        return NOT_YET
    model = record["operators"][0]["model"]
    rows = [row for row in record["operators"] if row["model"] == model]
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    found = {(row["operator"], row["shape"]): row for row in rows}
    names = dict.fromkeys(row["operator"] for row in rows if row["share"] >= LEAST_SHARE)
    lines = [f"| {model}, int8 | {' | '.join(shape.replace('x', ' × ') for shape in shapes)} |"]
    lines.append("|---|" + "---|" * len(shapes))
    for name in names:
        cells = [operator_cell(found.get((name, shape))) for shape in shapes]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    totals = [sum(row["us_per_token"] for row in rows if row["shape"] == shape) for shape in shapes]
    lines.append(f"| all operators | {' | '.join(f'{total:.1f}' for total in totals)} |")
    note = (
        f"Microseconds a token on one thread, with its share; {record['machine']['processor']} (`make bench-engine`)."
    )
    return "\n".join([*lines, "", note])


def operator_cell(row: dict[str, Any] | None) -> str:
    """Its time, or nothing where it does not occur."""
    return f"{row['us_per_token']:.1f} ({row['share']:.0%})" if row else ""


def forms_table() -> str:
    """What each change of the teacher's int8 graph did."""
    if not TUNING.is_file():
        return NOT_YET
    tuning = json.loads(TUNING.read_text())
    loads = list(next(trial["speedups"] for trial in tuning["trials"] if trial["speedups"]))
    lines = [f"| change | {' | '.join(loads)} | speed | |", "|---|" + "---|" * (len(loads) + 2)]
    for trial in tuning["trials"]:
        cells = [f"{trial['speedups'][load]:.2f}" if trial["speedups"] else "" for load in loads]
        speed = f"{trial['speedup']:.2f}" if trial["speedups"] else ""
        lines.append(f"| {trial['change']} | {' | '.join(cells)} | {speed} | {verdict(trial)} |")
    return "\n".join(lines)


def verdict(trial: dict[str, Any]) -> str:
    """What became of a change."""
    if trial["failed"]:
        return f"fails: {', '.join(trial['failed'])}"
    return "kept" if trial["kept"] else ""


def ladder_table() -> str:
    """Cost and quality of every rung."""
    if not LADDER.is_file():
        return NOT_YET
    ladder = json.loads(LADDER.read_text())
    lines = [
        "| bundle | M parameters | MB | ms, 1 × 16 | k tokens/s, 32 × 16 | 16 × 180 | seven STS | retrieval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rung in ladder["rungs"]:
        parameters = f"{rung['parameters'] / 1e6:.1f}" if rung["parameters"] else ""
        speeds = " | ".join(
            f"{rung['tokens_per_second'][load] / 1000:.1f} (×{rung['throughput_ratios'][load]:.2f})"
            for load in ("short", "long")
        )
        cost = f"{parameters} | {rung['bytes'] / 1e6:.1f} | {rung['latency_ms']:.2f}"
        lines.append(
            f"| {rung['name']}, {rung['precision']} | {cost} | "
            f"{speeds} | {rung['sts']['mean']:.2f} | {rung['retrieval']['mean']:.2f} |"
        )
    note = (
        f"In brackets: against {ladder['reference']}. One thread, {ladder['cpu']}, {ladder['engine']}; "
        f"{ladder['created'][:10]}, commit {ladder['commit']}."
    )
    return "\n".join([*lines, "", note, "", "![quality against latency](ladder.svg)"])


if __name__ == "__main__":
    sys.exit(main())
