"""The ladder as a picture: quality against latency, in SVG. Measures nothing."""

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, StrMethodFormatter

from bundle.drawing import as_svg, new_figure
from train.ladder.rungs import FAMILY, Ladder, Rung


def plot_ladder(ladder: Ladder) -> str:
    """STS and retrieval of every rung against its latency, as an SVG document.

    Students that a shipped recipe makes are dots, without the name they share; others, as the teacher, are squares.
    """
    with new_figure(11, 4.5) as figure:
        sts, retrieval = figure.subplots(1, 2)
        _draw(sts, "seven STS tasks, Spearman × 100", [(rung, rung.sts.mean) for rung in ladder.rungs])
        _draw(retrieval, "retrieval, nDCG@10 × 100", [(rung, rung.retrieval.mean) for rung in ladder.rungs])
        figure.suptitle(f"one thread of {ladder.cpu or 'an unknown CPU'}, {ladder.created[:10]}")
        return as_svg(figure)


def _draw(axes: Axes, title: str, points: list[tuple[Rung, float]]) -> None:
    axes.set_title(title)
    axes.set_xlabel("ms for one text of 16 tokens")
    axes.set_xscale("log")
    ticks = sorted({float(f"{rung.latency_ms:.2g}") for rung, _ in points})
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.15, y=0.15)
    students = [(rung.latency_ms, value) for rung, value in points if rung.trainable]
    others = [(rung.latency_ms, value) for rung, value in points if not rung.trainable]
    axes.plot(*zip(*students, strict=True), "o-", color="C0", linewidth=1)
    if others:
        axes.plot(*zip(*others, strict=True), "s", color="C1")
    for rung, value in points:
        axes.annotate(
            rung.name.removeprefix(FAMILY),
            (rung.latency_ms, value),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
        )
