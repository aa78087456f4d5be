"""How plots look and become files: one style for all, SVG. Needs matplotlib, which serving does not.

Knows no figures' content.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import matplotlib as mpl
from matplotlib.figure import Figure


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of so many inches, to be filled and turned into text (`as_svg`) inside the block."""
    style = mpl.rc_context(
        {
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "font.size": 9,
            "grid.alpha": 0.3,
            "svg.fonttype": "none",  # letters as text rather than as outlines: a fraction of the size
            "svg.hashsalt": "disco",  # the same data give the same file
        }
    )
    with style:
        yield Figure(figsize=(width, height), layout="constrained")


def as_svg(figure: Figure) -> str:
    """The figure as an SVG document."""
    document = StringIO()
    figure.savefig(document, format="svg", metadata={"Date": None, "Creator": None})
    return document.getvalue()
