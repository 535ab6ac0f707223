"""Charts as SVG: bars, and lines over a logarithmic axis.

A chart stands on a card of its own, light or dark as the reader's system is, so that it can be read on any
page; its title and figures are text, for a screen reader, too.  Colours tell apart what labels name as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Placing = Callable[[float, float], tuple[float, float]]  # From figures to pixels.

WIDTH = 800
_MARGIN = 20
_STYLE = """\
  .card { fill: #ffffff; stroke: #d0d7de }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .group { font-weight: 600 }
  .quiet { fill: #59636e; font-size: 12px }
  .axis { stroke: #d0d7de; fill: none }
  .a { fill: #0969da; stroke: #0969da } .b { fill: #54aeff; stroke: #54aeff }
  .c { fill: #bc4c00; stroke: #bc4c00 } .d { fill: #1a7f37; stroke: #1a7f37 }
  .e { fill: #8250df; stroke: #8250df } .other { fill: #8c959f; stroke: #8c959f }
  polyline { fill: none !important; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d }
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .axis { stroke: #3d444d }
    .a { fill: #4493f8; stroke: #4493f8 } .b { fill: #1f6feb; stroke: #1f6feb }
    .c { fill: #f0883e; stroke: #f0883e } .d { fill: #3fb950; stroke: #3fb950 }
    .e { fill: #ab7df8; stroke: #ab7df8 } .other { fill: #656c76; stroke: #656c76 }
  }"""
# The order in which neighbours differ most.
_COLOURS = "acdeb"

_BAR, _BAR_STEP = 16, 24
_BARS_FROM, _BARS_TO = 300, WIDTH - 120

_PLOT_LEFT, _PLOT_RIGHT = 80, WIDTH - 30
_PLOT_TOP, _PLOT_HEIGHT = 72, 260
_LEGEND_COLUMNS = 2
# How much of a step an axis may go on for, not to lose its last figure to rounding.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure of a bar chart."""

    label: str
    value: float
    text: str  # The figure in words, behind the bar.
    colour: str = "other"  # One of a to e, or other.


@dataclass(frozen=True, slots=True)
class Group:
    """Bars that are compared with one another, on a scale of their own."""

    title: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a line chart: points of x and y, x above zero."""

    name: str
    points: Sequence[tuple[float, float]]


def bar_chart(title: str, about: str, groups: Sequence[Group]) -> str:
    """Return a chart of horizontal bars, each group on its own scale; *about* says what they mean."""
    parts = []
    y = 82
    for group in groups:
        parts.append(_text(_MARGIN, y, group.title, "group"))
        longest = max(bar.value for bar in group.bars)
        for bar in group.bars:
            y += _BAR_STEP
            length = max(1.0, (_BARS_TO - _BARS_FROM) * bar.value / longest)
            parts += [
                _text(_BARS_FROM - 10, y, bar.label, anchor="end"),
                f'<rect class="{bar.colour}" x="{_BARS_FROM}" y="{y - 13}" width="{length:.1f}" height="{_BAR}" rx="2"/>',
                _text(_BARS_FROM + length + 8, y, bar.text),
            ]
        y += 2 * _BAR_STEP
    return _card(title, about, y - _BAR_STEP, parts)


def line_chart(title: str, x_title: str, y_title: str, lines: Sequence[Line]) -> str:
    """Return a chart of lines over a logarithmic x axis; y begins at zero.

    Up to five lines; *x_title* and *y_title* hold the units.
    """
    xs = sorted({x for line in lines for x, _ in line.points})
    decades = (math.floor(math.log10(xs[0])), math.ceil(math.log10(xs[-1])))
    if decades[0] == decades[1]:
        decades = (decades[0], decades[1] + 1)
    step = _round_step(max(y for line in lines for _, y in line.points) / 4)
    steps = math.ceil(max(y for line in lines for _, y in line.points) / step - _SLACK)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - decades[0]) / (decades[1] - decades[0])
        return (
            _PLOT_LEFT + across * (_PLOT_RIGHT - _PLOT_LEFT),
            _PLOT_TOP + _PLOT_HEIGHT * (1 - y / (steps * step)),
        )

    parts = [_text(_MARGIN, 50, y_title, "quiet")]
    for number in range(steps + 1):
        left, height = place(10.0 ** decades[0], number * step)
        parts += [
            f'<path class="axis" d="M{left:.1f} {height:.1f}H{_PLOT_RIGHT}"/>',
            _text(left - 8, height + 4, f"{number * step:,g}", "quiet", "end"),
        ]
    bottom = _PLOT_TOP + _PLOT_HEIGHT
    for decade in range(decades[0], decades[1] + 1):
        across, _ = place(10.0**decade, 0)
        anchor = "end" if decade == decades[1] else "middle"  # The last one would stick out of the card.
        parts.append(_text(across, bottom + 18, f"{10**decade:,}", "quiet", anchor))
    parts.append(_text((_PLOT_LEFT + _PLOT_RIGHT) / 2, bottom + 38, x_title, "quiet", "middle"))
    parts += _lines(lines, place, bottom + 66)
    rows = math.ceil(len(lines) / _LEGEND_COLUMNS)
    return _card(title, "", bottom + 66 + rows * 22, parts)


def _lines(lines: Sequence[Line], place: Placing, legend: float) -> Iterator[str]:
    """Yield each line with its points, and the legend from the height *legend* on."""
    for number, line in enumerate(lines):
        colour = _COLOURS[number]
        places = [place(*point) for point in line.points]
        yield f'<polyline class="{colour}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
        yield from (f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places)
        row, column = divmod(number, _LEGEND_COLUMNS)
        left = _PLOT_LEFT + column * (_PLOT_RIGHT - _PLOT_LEFT) / _LEGEND_COLUMNS
        yield f'<rect class="{colour}" x="{left:.1f}" y="{legend + row * 22 - 10:.1f}" width="12" height="12" rx="2"/>'
        yield _text(left + 20, legend + row * 22, line.name)


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is not below *least*."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= least * (1 - _SLACK))


def _card(title: str, about: str, height: float, parts: Sequence[str]) -> str:
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}"'
            f' height="{height:.0f}" role="img">'
        ),
        f"<title>{escape(title)}</title>",
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="6"/>',
        _text(_MARGIN, 30, title, "title"),
        *([_text(_MARGIN, 50, about, "quiet")] if about else []),
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    marks = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{marks}>{escape(text)}</text>'
