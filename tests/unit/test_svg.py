"""Charts: what they say aloud, where their lines run, and that text stays text."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from combat_history.admin import svg


def parsed(drawing: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


def corners(drawing: str, css: str) -> list[tuple[float, float]]:
    (line,) = [p for p in parsed(drawing).iter("polyline") if p.get("class") == css]
    pairs = [pair.split(",") for pair in str(line.get("points")).split()]
    return [(float(x), float(y)) for x, y in pairs]


def test_a_step_stays_until_it_is_told_anew() -> None:
    drawing = svg.step_chart(
        [(1, 100), (3, 40)], key="k", title="Hero", description="falls", until=5
    )
    line = corners(drawing, "combat-line-1")
    (x1, high), (x2, still_high), (x3, low), (x4, still_low) = line
    assert (high, low) == (still_high, still_low)
    assert x1 < x2 == x3 < x4
    assert high < low  # downwards on the page
    assert x3 - x1 == pytest.approx(x4 - x3, abs=0.2)


def test_a_chart_is_told_aloud() -> None:
    root = parsed(
        svg.step_chart([(1, 5)], key="hp-1", title="Hero", description="D", until=1)
    )
    assert root.get("role") == "img"
    ids = str(root.get("aria-labelledby")).split()
    told = {e.get("id"): e.text for e in root if e.tag in {"title", "desc"}}
    assert [told[id_] for id_ in ids] == ["Hero", "D"]


@pytest.mark.parametrize(
    "points", [[(1, 0)], [(1, -5), (2, 7)], [(1, 10**15)], [(1, 3), (1, 4)]]
)
def test_no_chart_leaves_its_frame(points: list[tuple[float, float]]) -> None:
    drawing = svg.step_chart(points, key="k", title="t", description="d", until=1)
    for x, y in corners(drawing, "combat-line-1"):
        assert math.isfinite(x)
        assert 0 <= x <= svg.WIDTH
        assert 0 <= y <= svg.HEIGHT


def test_several_lines_share_one_scale() -> None:
    lines = [
        svg.Line("p50", "combat-line-1", [(0, 1), (1, 1)]),
        svg.Line("p99", "combat-line-2", [(0, 10), (1, 5)]),
    ]
    drawing = svg.line_chart(
        lines, key="k", title="t", description="d", axis=("a", "b"), x_range=(0, 1)
    )
    low = corners(drawing, "combat-line-1")
    high = corners(drawing, "combat-line-2")
    assert high[0][1] < high[1][1] < low[0][1] == low[1][1]


def test_a_lone_point_can_be_seen() -> None:
    lone = [svg.Line("p50", "combat-line-1", [(1, 7)])]
    drawing = svg.line_chart(
        lone, key="k", title="t", description="d", axis=("a", "b"), x_range=(0, 2)
    )
    first, second = corners(drawing, "combat-line-1 combat-dot")
    assert first == second


def test_text_stays_text() -> None:
    script = "<script>alert(1)</script>"
    drawing = svg.line_chart(
        [svg.Line(script, "combat-line-1", [(0, 1)])],
        key="k",
        title=script,
        description=script,
        axis=(script, '"'),
        x_range=(0, 1),
    )
    assert "<script" not in drawing
    assert parsed(drawing).findtext("title") == script


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (7.25, "7.25"), (950, "950"), (1250, "1250"), (35_000, "35k")],
)
def test_numbers_of_the_scale_are_short(number: float, text: str) -> None:
    assert svg.short(number) == text
