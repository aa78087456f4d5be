"""A stage's history as curves, in SVG. Knows evaluations; needs no display and leaves pyplot's global state alone."""

from collections.abc import Iterable, Mapping

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from bundle.drawing import as_svg, new_figure
from train.report.record import Evaluation

Points = list[tuple[int, float]]
"""Examples seen and the value there."""


def plot_stage(stage: list[Evaluation], *, score: str, kept: Evaluation) -> str:
    """One stage's loss, the loss's terms and the score by examples seen, as an SVG document.

    `stage` has at least one entry; `score` says what the score measures. `kept`, whose weights the
    stage ended with, is marked.
    """
    with new_figure(11, 3) as figure:
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
        return as_svg(figure)


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
