"""The rows of a study side by side: as JSON to commit, as a Markdown table and as a plot. Trains and scores nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bundle.atomic import write_atomically
from bundle.drawing import as_svg, new_figure
from bundle.sts import TASKS
from train.errors import StudyError
from train.studies.study import TEACHER, Row, Study, read_row

# What the plot shows of a row; the same for teacher and variants.
_PANELS: dict[str, Callable[[Row], float]] = {
    "STS-B dev": lambda row: row.sts_dev,
    "seven STS, mean": lambda row: row.sts.mean,
    "retrieval, mean nDCG@10 × 100": lambda row: row.retrieval.mean,
}


class Comparison(msgspec.Struct, frozen=True):
    """A study with the rows that exist, as it is committed."""

    name: str
    title: str
    purpose: str
    base: str
    common: tuple[str, ...]
    rows: tuple[Row, ...]
    """The teacher first, then in the study's order."""


def collect_rows(study: Study, folders: Sequence[Path]) -> Comparison:
    """Read the rows that lie in `folders`; where two hold the same one, the later folder's counts.

    Raises:
        StudyError: there is none, one cannot be read, or they were not made under one budget.
    """
    rows = {}
    for name in (TEACHER, *study.variants):
        for file in (folder / f"{name}.json" for folder in folders):
            if file.is_file():
                rows[name] = read_row(file)
    if not rows:
        raise StudyError(f"no rows of {study.name} in {', '.join(map(str, folders))}")
    first, *others = rows.values()
    for row in others:
        if row.budget != first.budget:
            raise StudyError(
                f"{row.variant} and {first.variant} were not made under one budget ({' '.join(row.common)} against "
                f"{' '.join(first.common)}, or a changed base recipe): they cannot be compared"
            )
    return Comparison(study.name, study.title, study.purpose, study.base, first.common, (first, *others))


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write NAME.json and NAME.svg to `folder`, which is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    content = msgspec.json.format(msgspec.json.encode(comparison), indent=2)
    write_atomically(folder / f"{comparison.name}.json", content + b"\n")
    write_atomically(folder / f"{comparison.name}.svg", plot(comparison.rows))


def read_comparison(file: Path) -> Comparison:
    """Read what `write_comparison` wrote."""
    return msgspec.json.decode(file.read_bytes(), type=Comparison)


def markdown(comparison: Comparison) -> str:
    """One line a row: Spearman × 100 and nDCG@10 × 100, then what it cost and where it comes from."""
    retrieval = list(comparison.rows[0].retrieval.tasks)
    heads = [
        "variant",
        "STS-B dev",
        *TASKS,
        "**STS**",
        *retrieval,
        "**retrieval**",
        "cosine",
        "seconds",
        "commit",
        "date",
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in comparison.rows:
        scores = [row.sts_dev, *(row.sts.tasks[task] for task in TASKS)]
        found = [row.retrieval.tasks[task] for task in retrieval]
        cells = [
            row.variant,
            *(f"{score:.2f}" for score in scores),
            f"**{row.sts.mean:.2f}**",
            *(f"{score:.2f}" for score in found),
            f"**{row.retrieval.mean:.2f}**",
            "–" if row.teacher_cosine is None else f"{row.teacher_cosine:.3f}",
            f"{row.seconds:,.0f}" if row.examples else "–",
            row.commit or "–",
            row.date,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: Sequence[Row]) -> str:
    """A dot for each row and measure, as an SVG document; a dashed line is the teacher."""
    variants = [row for row in rows if row.variant != TEACHER]
    with new_figure(11, 1 + 0.25 * len(variants)) as figure:
        panels = figure.subplots(1, len(_PANELS), sharey=True)
        for panel, (title, measure) in zip(panels, _PANELS.items(), strict=True):
            panel.set_title(title)
            panel.plot([measure(row) for row in variants], [row.variant for row in variants], "o")
            for row in rows:
                if row.variant == TEACHER:
                    panel.axvline(measure(row), linestyle="--", color="0.4")
        panels[0].invert_yaxis()
        return as_svg(figure)
