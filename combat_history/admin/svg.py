"""Small charts as inline SVG: no script, no font, no request.

Colours are classes and currentColor, for the page's theme to fill in. A title and a
description are part of each chart, so that it can be read aloud. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.utils.html import format_html, format_html_join

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

WIDTH, HEIGHT = 360, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 22

Point = tuple[float, float]


class Line(NamedTuple):
    """`css`: class of the line, `label`: its name in the legend."""

    label: str
    css: str
    points: Sequence[Point]


class _Frame(NamedTuple):
    """Maps values to the drawing. No extent is zero."""

    x0: float
    x1: float
    y0: float
    y1: float

    def at(self, x: float, y: float) -> str:
        across = (x - self.x0) / (self.x1 - self.x0)
        up = (y - self.y0) / (self.y1 - self.y0)
        left = _LEFT + across * (WIDTH - _LEFT - _RIGHT)
        top = HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)
        return f"{left:.1f},{top:.1f}"


def step_chart(
    points: Sequence[Point], *, key: str, title: str, description: str, until: float
) -> SafeString:
    """A value that stays as it is until it is told anew; at least one point.

    `key` is the chart's own on its page.
    """
    corners: list[Point] = []
    for (x, y), (next_x, _y) in zip(points, [*points[1:], (until, 0.0)], strict=True):
        corners += [(x, y), (next_x, y)]
    frame = _frame([corners], 1.0, until)
    axis = [("start", 1.0, "1"), ("end", until, f"{until:.0f}")]
    line = Line(title, "combat-line-1", corners)
    return _chart([line], frame, axis, title, description, key)


def course_chart(
    points: Sequence[Point],
    dots: Sequence[tuple[float, float, str]],
    *,
    key: str,
    title: str,
    description: str,
    axis: tuple[str, str],
) -> SafeString:
    """A step chart over time; each of `dots` tells its words when pointed at."""
    first, last = points[0][0], points[-1][0]
    corners: list[Point] = []
    for (x, y), (next_x, _y) in zip(points, [*points[1:], (last, 0.0)], strict=True):
        corners += [(x, y), (next_x, y)]
    frame = _frame([corners], first, last)
    ends = [("start", frame.x0, axis[0]), ("end", frame.x1, axis[1])]
    marks = format_html_join(
        "",
        '<circle class="combat-mark" r="3" cx="{}" cy="{}"><title>{}</title></circle>',
        ((*frame.at(x, y).split(","), words) for x, y, words in dots),
    )
    line = Line(title, "combat-line-1", corners)
    return _chart([line], frame, ends, title, description, key, marks)


def line_chart(
    lines: Sequence[Line],
    *,
    key: str,
    title: str,
    description: str,
    axis: tuple[str, str],
    x_range: Point,
) -> SafeString:
    """Several lines over one range of x; `axis` names its two ends."""
    frame = _frame([line.points for line in lines], *x_range)
    ends = [("start", x_range[0], axis[0]), ("end", x_range[1], axis[1])]
    return _chart(lines, frame, ends, title, description, key)


def _frame(lines: Sequence[Sequence[Point]], x0: float, x1: float) -> _Frame:
    values = [y for line in lines for _x, y in line]
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    return _Frame(x0, x1 if x1 > x0 else x0 + 1, low, high if high > low else low + 1)


def _chart(
    lines: Sequence[Line],
    frame: _Frame,
    axis: Sequence[tuple[str, float, str]],
    title: str,
    description: str,
    key: str,
    marks: SafeString | str = "",
) -> SafeString:
    return format_html(
        '<svg class="combat-chart" viewBox="0 0 {} {}" role="img"'
        ' aria-labelledby="{}-title {}-desc">'
        '<title id="{}-title">{}</title><desc id="{}-desc">{}</desc>{}{}{}{}</svg>',
        WIDTH,
        HEIGHT,
        *(key, key, key, title, key, description),
        _scale(frame),
        _drawn(lines, frame),
        marks,
        format_html_join(
            "",
            '<text class="combat-axis" text-anchor="{}" x="{}" y="{}">{}</text>',
            (
                (anchor, frame.at(x, 0).split(",")[0], HEIGHT - 6, label)
                for anchor, x, label in axis
            ),
        ),
    )


def _drawn(lines: Sequence[Line], frame: _Frame) -> SafeString:
    return format_html_join(
        "",
        '<polyline class="{}" points="{}"/>',
        (
            (
                line.css if len(line.points) > 1 else f"{line.css} combat-dot",
                " ".join(frame.at(x, y) for x, y in _visible(line.points)),
            )
            for line in lines
        ),
    )


def _visible(points: Sequence[Point]) -> Sequence[Point]:
    """A lone point is a line to itself: round ends make it a dot."""
    return points if len(points) > 1 else [*points, *points]


def _scale(frame: _Frame) -> SafeString:
    """The two levels that give a height its meaning."""
    return format_html_join(
        "",
        '<polyline class="combat-grid" points="{} {}"/>'
        '<text class="combat-axis" text-anchor="end" x="{}" y="{}">{}</text>',
        (
            (
                frame.at(frame.x0, level),
                frame.at(frame.x1, level),
                _LEFT - 4,
                float(frame.at(frame.x0, level).split(",")[1]) + 4,
                short(level),
            )
            for level in (frame.y0, frame.y1)
        ),
    )


def short(number: float) -> str:
    """At most some five characters: 950, 1.2k, 35M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= limit:
            divisor = {"G": 1e9, "M": 1e6, "k": 1e3}[unit]
            return f"{number / divisor:.3g}{unit}"
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"
