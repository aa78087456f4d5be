"""`quality.html`: what an export found out, for people. Measures nothing."""

from pathlib import Path

from bundle.drawing import as_svg, new_figure
from bundle.manifest import Precision
from bundle.pages import inline, render_page
from export.report import Quality
from export.tuning import Tuning
from export.verify import Parity

_TEMPLATE = Path(__file__).with_name("quality.html.jinja")
_SMALLEST = 1e-8
"""Below float32's own noise all distances look alike, and a logarithm needs more than nothing."""


def render_quality(name: str, quality: Quality, tuning: Tuning | None) -> str:
    """The whole page about the bundle `name`."""
    return render_page(
        _TEMPLATE,
        name=name,
        quality=quality,
        tuning=tuning,
        texts=max(len(parity.tokens) for parity in quality.parity.values()),
        agreement=inline(_plot_agreement(quality.parity)),
    )


def _plot_agreement(parities: dict[Precision, Parity]) -> str:
    """Distance from torch's vector by the text's length, a panel for each precision."""
    with new_figure(11, 3) as figure:
        panels = figure.subplots(1, len(parities), squeeze=False)[0]
        for axes, (precision, parity) in zip(panels, parities.items(), strict=True):
            axes.set_title(precision)
            axes.set_xlabel("tokens")
            axes.set_ylabel("1 − cosine")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.plot(parity.tokens, [max(distance, _SMALLEST) for distance in parity.distances], ".", alpha=0.6)
        return as_svg(figure)
