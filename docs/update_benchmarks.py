"""Writes the comparison with other servers and the trend of commits into the pages, and draws both: `make readme`.

With --check it only tells whether the pages are up to date (exit status 1 if not), and draws nothing.
"""

import json
import sys
from typing import Any

from update_readme import README, ROOT, fill

from bundle.drawing import as_svg, new_figure

PAGE = ROOT / "docs" / "benchmarks.md"
PEERS = ROOT / "benchmarks" / "peers.json"
QUICK = ROOT / "benchmarks" / "quick"
NOT_YET = "*Not measured yet.*"
SUMMARY = ("1x1-short", "32x1-mixed", "64x1-mixed", "4x32-mixed", "32x1-long")


def main() -> int:
    """Rewrite or check the marked parts, and draw."""
    peers = json.loads(PEERS.read_text()) if PEERS.is_file() else None
    trend = sorted((json.loads(path.read_text()) for path in QUICK.glob("*.json")), key=lambda record: record["date"])
    pages = {
        README: {"peers": summary(peers)},
        PAGE: {"peers": loads_table(peers), "systems": systems_table(peers), "quick": trend_table(trend)},
    }
    is_current = True
    for page, sections in pages.items():
        old = new = page.read_text(encoding="utf-8")
        for name, content in sections.items():
            new = fill(new, name, content)
        is_current = is_current and new == old
        if "--check" not in sys.argv[1:]:
            page.write_text(new, encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return 0 if is_current else 1
    if peers:
        (ROOT / "docs" / "peers.svg").write_text(draw_peers(peers), encoding="utf-8")
    if trend:
        (ROOT / "docs" / "quick.svg").write_text(draw_trend(trend), encoding="utf-8")
    return 0


def summary(record: dict[str, Any] | None) -> str:
    """Texts/s of every system under a few loads, and how many times slower than ours that is."""
    if record is None:
        return NOT_YET
    loads = [load for load in SUMMARY if any(row["load"] == load for row in record["rows"])]
    lines = [f"| texts/s (of ours) | {' | '.join(describe(load) for load in loads)} |", "|---|" + "---|" * len(loads)]
    found = {(row["system"], row["load"]): row for row in record["rows"]}
    for name in measured(record):
        cells = [speed(found[name, load]) if (name, load) in found else "" for load in loads]
        lines.append(f"| {record['systems'][name]['title']} | {' | '.join(cells)} |")
    note = (
        "In brackets the ratio to the first row: the median of those within a round, not the quotient of these "
        "figures; none where rounds disagree which is faster."
    )
    return "\n".join([*lines, "", note, origin(record), "", "![texts per second of every system](docs/peers.svg)"])


def loads_table(record: dict[str, Any] | None) -> str:
    """Every figure of every system under every load."""
    if record is None:
        return NOT_YET
    lines = [
        "| load | system | requests/s | texts/s (of ours) | tokens/s | p50 ms | p99 ms | MiB | CPU s/1,000 texts |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for load in dict.fromkeys(row["load"] for row in record["rows"]):
        for row in (row for row in record["rows"] if row["load"] == load):
            figures, title = row["figures"], record["systems"][row["system"]]["title"]
            ratio = row["throughput_of_ours"]
            spread = f" ({ratio['median']:.2f}, {ratio['min']:.2f}–{ratio['max']:.2f})" if ratio else ""
            mark = " †" if row["generator_bottlenecks"] or figures["failed"] else ""
            lines.append(
                f"| {describe(load)} | {title}{mark} | {figures['requests_per_second']:,.0f} "
                f"| {figures['texts_per_second']:,.0f}{spread} | {figures['tokens_per_second']:,.0f} "
                f"| {figures['p50_ms']:,.1f} | {figures['p99_ms']:,.1f} | {figures['peak_mebibytes']:,.0f} "
                f"| {figures['cpu_seconds_per_1000_texts']:.2f} |"
            )
    note = "† requests failed, or the generator may have been the bottleneck; the record says which."
    return "\n".join([*lines, "", f"{note} {origin(record)}"])


def systems_table(record: dict[str, Any] | None) -> str:
    """What was started and how, and what could not be."""
    if record is None:
        return NOT_YET
    lines = ["| system | started as | versions | cosine | ready after s |", "|---|---|---|---|---|"]
    for system in record["systems"].values():
        if system["absent"]:
            lines.append(f"| {system['title']} | not measured: {system['absent']} | | | |")
            continue
        versions = ", ".join(f"{name} {version}" for name, version in system["versions"].items())
        if system.get("engine"):
            versions = f"**{system['engine']}**; {versions}"
        lines.append(
            f"| {system['title']} | `{system['command']}` | {versions} "
            f"| {system['lowest_cosine']:.4f} | {system['startup_seconds']:.1f} |"
        )
    return "\n".join(lines)


def trend_table(trend: list[dict[str, Any]]) -> str:
    """The newest commit's ratios."""
    if not trend:
        return NOT_YET
    newest = trend[-1]
    lines = ["| ratio | median | min–max |", "|---|---|---|"]
    for name, ratio in newest["ratios"].items():
        lines.append(f"| {name} | {ratio['median']:.2f} | {ratio['min']:.2f}–{ratio['max']:.2f} |")
    return "\n".join([*lines, "", origin(newest), "", "![the ratios of every commit](quick.svg)"])


def draw_peers(record: dict[str, Any]) -> str:
    """Bars: texts/s by load and system, logarithmic."""
    loads = list(dict.fromkeys(row["load"] for row in record["rows"] if row["load"] in SUMMARY))
    names = measured(record)
    with new_figure(8, 3.5) as figure:
        axes = figure.subplots()
        width = 0.8 / len(names)
        for place, name in enumerate(names):
            rows = {row["load"]: row["figures"]["texts_per_second"] for row in record["rows"] if row["system"] == name}
            left = [index + (place - (len(names) - 1) / 2) * width for index in range(len(loads))]
            axes.bar(left, [rows.get(load, 0) for load in loads], width, label=record["systems"][name]["title"])
        axes.set_yscale("log")
        axes.set_ylabel("texts/s")
        axes.set_xticks(range(len(loads)), [describe(load) for load in loads])
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return as_svg(figure)


def draw_trend(trend: list[dict[str, Any]]) -> str:
    """One line a ratio over the commits, with its range."""
    commits = [record["commit"] or "?" for record in trend]
    with new_figure(8, 3.5) as figure:
        axes = figure.subplots()
        for name in trend[-1]["ratios"]:
            known = [(place, record["ratios"][name]) for place, record in enumerate(trend) if name in record["ratios"]]
            places, ratios = [place for place, _ in known], [ratio for _, ratio in known]
            (line,) = axes.plot(places, [ratio["median"] for ratio in ratios], marker="o", label=name)
            low, high = [ratio["min"] for ratio in ratios], [ratio["max"] for ratio in ratios]
            axes.fill_between(places, low, high, alpha=0.15, color=line.get_color())
        axes.set_xticks(range(len(commits)), commits, rotation=45, ha="right")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return as_svg(figure)


def measured(record: dict[str, Any]) -> list[str]:
    """The systems that have figures, in their order."""
    return [name for name in record["systems"] if any(row["system"] == name for row in record["rows"])]


def describe(load: str) -> str:
    """`4x32-mixed` in words."""
    shape, _, length = load.partition("-")
    clients, texts = shape.split("x")
    many = f"{clients} clients" if clients != "1" else "1 client"
    return f"{many}, {length}" if texts == "1" else f"{many} × {texts} texts, {length}"


def speed(row: dict[str, Any]) -> str:
    """Texts/s, and the ratio to ours where all rounds agree which is the faster one."""
    ratio = row["throughput_of_ours"]
    agree = ratio and not ratio["min"] <= 1 <= ratio["max"]
    return f"{row['figures']['texts_per_second']:,.0f}" + (f" ({ratio['median']:.2f})" if agree else "")


def origin(record: dict[str, Any]) -> str:
    """Machine, date, commit and command of a record."""
    machine = record["machine"]
    return (
        f"{machine['cores']} cores, {machine['processor']}; {record['date'][:10]}, commit {record['commit']}, "
        f"`{record['command']}`."
    )


if __name__ == "__main__":
    sys.exit(main())
