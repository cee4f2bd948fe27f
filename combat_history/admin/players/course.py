"""A player's balances over time: a chart of each, the fights as dots, and a table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from django.utils.formats import localize
from django.utils.timezone import localtime
from django.utils.translation import gettext

from combat_history.admin import svg
from combat_history.admin.naming import Names
from combat_history.insight.course import GOLD, XP, Course

if TYPE_CHECKING:
    from django.utils.safestring import SafeString


class Chart(NamedTuple):
    label: str
    drawing: SafeString


class Row(NamedTuple):
    at: datetime
    is_fight: bool
    amounts: list[int | None]


class Shown(NamedTuple):
    charts: list[Chart]
    labels: list[str]
    rows: list[Row]


def shown(course: Course, known: Names) -> Shown | None:
    """None of a player whom nothing has moved more than once."""
    if len(course.steps) < 2:
        return None
    labels = {GOLD: gettext("Gold"), XP: gettext("XP")}
    labels |= {id_: known.balance(id_) for id_ in course.named}
    drawn = {id_: label for id_, label in labels.items() if len(course.of(id_)) > 1}
    return Shown(
        [
            Chart(label, _chart(course, id_, label, f"course-{number}"))
            for number, (id_, label) in enumerate(drawn.items())
        ],
        list(labels.values()),
        [
            Row(step.at, step.is_fight, [step.after.get(id_) for id_ in labels])
            for step in reversed(course.steps)
        ],
    )


def _chart(course: Course, id_: str, label: str, key: str) -> SafeString:
    told = course.of(id_)
    amounts = [amount for _step, amount in told]
    description = gettext(
        "%(first)d at first, %(lowest)d at the lowest, %(highest)d at the highest, "
        "%(last)d now."
    ) % {
        "first": amounts[0],
        "lowest": min(amounts),
        "highest": max(amounts),
        "last": amounts[-1],
    }
    return svg.course_chart(
        [(step.at.timestamp(), amount) for step, amount in told],
        [
            (step.at.timestamp(), amount, f"{_when(step.at)}: {localize(amount)}")
            for step, amount in told
            if step.is_fight
        ],
        key=key,
        title=label,
        description=description,
        axis=(_when(told[0][0].at), _when(told[-1][0].at)),
    )


def _when(at: datetime) -> str:
    return f"{localtime(at):%d.%m %H:%M}"
