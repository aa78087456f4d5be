"""Line plots as SVG: axes, grid, lines, a legend. Knows nothing of what is plotted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 30, 44
_MOST_TICKS = 8


@dataclass(frozen=True)
class Line:
    """A named series; a point without a value (None) interrupts it."""

    name: str
    points: Sequence[tuple[float, float | None]]
    dots: bool = False
    """Marks instead of a line."""


@dataclass(frozen=True)
class Axis:
    """What a direction means. `ticks` are set by hand where values are not their own labels."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def place(self, value: float) -> float:
        """Where a value stands: 0 at the low end, 1 at the high one."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def linear_axis(label: str, high: float, low: float = 0.0) -> Axis:
    """From `low` to `high` with round ticks."""
    high = high if high > low else low + 1
    rough = (high - low) / _MOST_TICKS
    power = 10 ** math.floor(math.log10(rough))
    distance = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    first, last = math.ceil(low / distance - 1e-9), math.floor(high / distance + 1e-9)
    ticks = [(number * distance, f"{number * distance:,.10g}") for number in range(first, last + 1)]
    return Axis(label, low, high, ticks)


def plot(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """Draw; colours come from the page: line number n has the class `line-n`."""
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">',
        *_grid(x, y),
        *(part for number, line in enumerate(lines) for part in _line(line, number, x, y)),
        *(_legend(line.name, number) for number, line in enumerate(lines)),
        "</svg>",
    ]
    return "\n".join(parts)


def _across(x: Axis, value: float) -> float:
    return _LEFT + x.place(value) * (WIDTH - _LEFT - _RIGHT)


def _up(y: Axis, value: float) -> float:
    return HEIGHT - _BOTTOM - y.place(value) * (HEIGHT - _TOP - _BOTTOM)


def _grid(x: Axis, y: Axis) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for value, label in y.ticks:
        height = _up(y, value)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{height:.1f}" x2="{right}" y2="{height:.1f}"/>')
        parts.append(_text(_LEFT - 6, height + 4, label, anchor="end"))
    for value, label in x.ticks:
        across = _across(x, value)
        parts.append(f'<line class="grid" x1="{across:.1f}" y1="{_TOP}" x2="{across:.1f}" y2="{bottom}"/>')
        parts.append(_text(across, bottom + 16, label, anchor="middle"))
    parts.append(_text((_LEFT + right) / 2, HEIGHT - 8, x.label, anchor="middle"))
    parts.append(_text(4, _TOP - 12, y.label, anchor="start"))
    return parts


def _line(line: Line, number: int, x: Axis, y: Axis) -> list[str]:
    spots = [None if value is None else (_across(x, at), _up(y, value)) for at, value in line.points]
    if line.dots:
        return [f'<circle class="line-{number}" cx="{s[0]:.1f}" cy="{s[1]:.1f}" r="3.5"/>' for s in spots if s]
    path, drawing = [], False
    for spot in spots:
        if spot is not None:
            path.append(f"{'L' if drawing else 'M'}{spot[0]:.1f} {spot[1]:.1f}")
        drawing = spot is not None
    return [f'<path class="line-{number}" d="{" ".join(path)}"/>'] if path else []


def _legend(name: str, number: int) -> str:
    across = WIDTH - _RIGHT - 110 * (number + 1)
    return f'<rect class="line-{number}" x="{across}" y="8" width="12" height="4"/>' + _text(
        across + 16, 14, name, anchor="start"
    )


def _text(across: float, down: float, text: str, *, anchor: str) -> str:
    return f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
