"""A stage's history as curves, in SVG. Knows evaluations; needs no display and leaves pyplot's global state alone."""

from collections.abc import Iterable, Mapping
from io import StringIO

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from train.report.record import Evaluation

Points = list[tuple[int, float]]
"""Examples seen and the value there."""


def plot_stage(stage: list[Evaluation], *, score: str, kept: Evaluation) -> str:
    """One stage's loss, the loss's terms and the score by examples seen, as an SVG document.

    `stage` has at least one entry; `score` says what the score measures. `kept`, whose weights the
    stage ended with, is marked.
    """
    style = mpl.rc_context(
        {
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "font.size": 9,
            "grid.alpha": 0.3,
            "svg.fonttype": "none",  # letters as text rather than as outlines: a fraction of the size
            "svg.hashsalt": "disco",  # the same history gives the same file
        }
    )
    with style:
        figure = Figure(figsize=(11, 3), layout="constrained")
        losses, terms, scores = figure.subplots(1, 3)
        _draw(losses, "loss", {"loss": [(entry.examples, entry.loss) for entry in stage if entry.loss is not None]})
        _draw(terms, "terms of the loss, unweighted", _terms(stage))
        if all(value > 0 for entry in stage for value in entry.terms.values()):
            terms.set_yscale("log")  # they differ by orders of magnitude
        _draw(scores, score, {"score": [(entry.examples, entry.score) for entry in stage if entry.score is not None]})
        if kept.score is not None:
            scores.plot(kept.examples, kept.score, "o", color="C1", label=f"kept: {kept.score:.2f}")
        for axes in (terms, scores):
            if axes.lines:
                axes.legend()
        document = StringIO()
        figure.savefig(document, format="svg", metadata={"Date": None, "Creator": None})
    return document.getvalue()


def _terms(stage: Iterable[Evaluation]) -> dict[str, Points]:
    curves: dict[str, Points] = {}
    for entry in stage:
        for name, value in entry.terms.items():
            curves.setdefault(name, []).append((entry.examples, value))
    return curves


def _draw(axes: Axes, title: str, curves: Mapping[str, Points]) -> None:
    axes.set_title(title)
    axes.set_xlabel("examples")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    drawn = {name: points for name, points in curves.items() if points}
    for name, points in drawn.items():
        axes.plot(*zip(*points, strict=True), marker=".", label=name)
    if not drawn:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center")
