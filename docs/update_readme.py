"""Writes the README's tables from committed JSON, so that no figure there is typed by hand: `make readme`.

With --check it only tells whether the README is up to date (exit status 1 if not).
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
STUDENT = ROOT / "students" / "disco-minilm-l3"
QUALITY = ROOT / "benchmarks" / "quality.json"
SERVING = ROOT / "benchmarks" / "serving"
SERVED = ROOT / "benchmarks" / "served.json"
"""What the server that was loaded told of itself."""
TASKS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSB", "SICK")


def main() -> int:
    """Rewrite or check the marked parts of the README."""
    old = README.read_text(encoding="utf-8")
    new = fill(fill(old, "quality", quality_table()), "serving", serving_table())
    if "--check" in sys.argv[1:]:
        return 0 if new == old else 1
    README.write_text(new, encoding="utf-8")
    return 0


def fill(text: str, name: str, content: str) -> str:
    """Replace what stands between the markers of `name`."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def quality_table() -> str:
    """Spearman × 100 on the seven STS tasks: teacher, student, and the student as it is served."""
    training = json.loads((STUDENT / "training.json").read_text())
    quality = json.loads((STUDENT / "quality.json").read_text())
    rows = {f"teacher, {training['teacher'].rpartition('/')[2]}": training["sts"]["teacher"]}
    if "finetuned teacher" in training["sts"]:
        rows["the teacher finetuned, which the student learnt from"] = training["sts"]["finetuned teacher"]
    rows["student, float32"] = training["sts"]["student"]
    rows["**student, int8, in ONNX Runtime**"] = quality["sts"]["int8"]
    lines = [f"| Spearman × 100 | {' | '.join(TASKS)} | mean |", "|---|" + "---|" * (len(TASKS) + 1)]
    for name, row in rows.items():
        figures = " | ".join(f"{row['tasks'][task]:.2f}" for task in TASKS)
        lines.append(f"| {name} | {figures} | **{row['mean']:.2f}** |")
    megabytes = sum(path.stat().st_size for path in STUDENT.rglob("*") if path.is_file()) / 1e6
    size = f"{training['parameters'] / 1e6:.1f} M parameters; the whole bundle is {megabytes:.1f} MB."
    return "\n".join([*lines, "", f"{size} {retrieval_sentence()}"])


def retrieval_sentence() -> str:
    """What the STS figures do not show: whether it still finds documents as its teacher does."""
    teacher, student = (row["retrieval"] for row in json.loads(QUALITY.read_text()).values())
    kept = student["mean"] / teacher["mean"]
    parts = ", ".join(f"{task} {student['tasks'][task] / teacher['tasks'][task]:.0%}" for task in teacher["tasks"])
    return (
        f"Of the teacher's retrieval it keeps {kept:.0%}: nDCG@10 of {student['mean']:.1f} against "
        f"{teacher['mean']:.1f} on questions and titles whose documents it was not trained on "
        f"({parts}; `make evaluate`)."
    )


def serving_table() -> str:
    """Latency and throughput of the shipped student under each load."""
    reports = {path.stem: json.loads(path.read_text()) for path in SERVING.glob("*.json")}
    ordered = sorted(reports.items(), key=lambda item: rank(item[1]))
    lines = ["| load (`make bench`) | requests/s | texts/s | p50 ms | p99 ms |", "|---|---|---|---|---|"]
    for name, report in ordered:
        rate, latency = report["throughput"], report["latency_ms"]
        lines.append(
            f"| {name.replace('-', ' ')} | {rate['requests_per_second']:,.0f} | {rate['texts_per_second']:,.0f} "
            f"| {latency['p50']:.2f} | {latency['p99']:.2f} |"
        )
    machine = ordered[0][1]["machine"]
    day = max(report["date"] for report in reports.values())[:10]
    served = json.loads(SERVED.read_text())
    note = (
        f"{machine['cores']} cores, {machine['processor']}, {day}; engine {served['engine']}, {served['workers']} "
        f"workers, {served['front_ends']} front end, no cache; the load generator runs on the same cores."
    )
    return "\n".join([*lines, "", note])


def rank(report: dict[str, Any]) -> tuple[int, int, str]:
    """Few texts a request first; of these closed loops by clients, then open loops."""
    throughput = report["throughput"]
    texts_per_request = round(throughput["texts_per_second"] / throughput["requests_per_second"])
    return (texts_per_request, report["settings"]["clients"] or 10**9, report["date"])


if __name__ == "__main__":
    sys.exit(main())
