"""The economy by day, of the roll-ups alone; each question costs some weeks of them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone

from combat_history.models import EconomyEarner, EconomyProgress

DAYS = 30
"""Days, today included, that are told of one thing."""

WEEK = 7
MAX_THINGS = 30
MAX_EARNERS = 10
MAX_ANOMALIES = 20


class Thing(NamedTuple):
    """Gold, XP, one named balance or one item; `subject` is the id of the latter."""

    kind: str
    subject: str


class Day(NamedTuple):
    day: date
    minted: Decimal
    sunk: Decimal

    @property
    def net(self) -> Decimal:
        return self.minted - self.sunk


class Moved(NamedTuple):
    """What was given and taken of a thing, or by a source, in some days."""

    name: str
    subject: str
    minted: Decimal
    sunk: Decimal

    @property
    def net(self) -> Decimal:
        return self.minted - self.sunk


class Anomaly(NamedTuple):
    """More than usual of a thing on a day; `usual`: the mean of the weeks before."""

    thing: Thing
    day: date
    minted: Decimal
    usual: Decimal | None


class Earner(NamedTuple):
    character_id: int
    gold: Decimal
    xp: Decimal


_SERIES = """
SELECT each::date, coalesce(sum(minted), 0), coalesce(sum(sunk), 0)
FROM generate_series(%(today)s::date - %(days)s + 1, %(today)s, interval '1 day') each
LEFT JOIN economy_days known
    ON known.day = each::date AND kind = %(kind)s AND subject = %(subject)s
   AND source <> 'opening'
GROUP BY 1 ORDER BY 1
"""

_SOURCES = """
SELECT source, '', sum(minted), sum(sunk)
FROM economy_days
WHERE kind = %(kind)s AND subject = %(subject)s AND day > %(today)s::date - %(days)s
  AND source <> 'opening'
GROUP BY 1 ORDER BY 3 DESC, 1
"""

_THINGS = """
SELECT kind, subject, sum(minted), sum(sunk)
FROM economy_days
WHERE day > %(today)s::date - %(days)s AND source <> 'opening'
GROUP BY 1, 2
ORDER BY kind NOT IN ('gold', 'xp'), kind, 3 DESC, 2
LIMIT %(limit)s
"""

# Beyond three standard deviations and half as much again; or the first of its kind,
# where there is a past to be the first in.
_ANOMALIES = """
WITH by_day AS (
    SELECT kind, subject, day, sum(minted) AS minted
    FROM economy_days
    WHERE day > %(today)s::date - 30 AND source <> 'opening'
    GROUP BY 1, 2, 3
), begun AS (
    SELECT %(today)s::date - min(day) AS days FROM economy_days
), usual AS (
    SELECT late.kind, late.subject, late.day, late.minted,
           count(past.day) AS days,
           -- Days on which there was none count as well.
           sum(past.minted) / least(28, (SELECT days FROM begun)) AS mean,
           coalesce(stddev_pop(past.minted), 0) AS spread
    FROM by_day late
    LEFT JOIN by_day past
        ON past.kind = late.kind AND past.subject = late.subject
        AND past.day < late.day AND past.day >= late.day - 28
    WHERE late.day >= %(today)s::date - 1 AND late.minted > 0
    GROUP BY 1, 2, 3, 4
)
SELECT kind, subject, day, minted, mean
FROM usual
WHERE (SELECT days FROM begun) >= 7
  AND (days = 0 OR minted > greatest(mean + 3 * spread, mean * 1.5))
ORDER BY days = 0, minted / greatest(coalesce(mean, 0), 1) DESC, 1, 2
LIMIT %(limit)s
"""


def today() -> date:
    return timezone.now().date()


def series(thing: Thing) -> list[Day]:
    """Oldest first, days without anything included."""
    return [Day(*row) for row in _rows(_SERIES, thing, DAYS)]


def sources(thing: Thing) -> list[Moved]:
    return [Moved(*row) for row in _rows(_SOURCES, thing, DAYS)]


def things() -> list[Moved]:
    """What moved in a week, gold and XP first; `name` is the kind."""
    return [Moved(*row) for row in _rows(_THINGS, Thing("", ""), WEEK, MAX_THINGS)]


def anomalies() -> list[Anomaly]:
    """Of today and yesterday, against four weeks before."""
    found = _rows(_ANOMALIES, Thing("", ""), DAYS, MAX_ANOMALIES)
    return [Anomaly(Thing(kind, id_), *rest) for kind, id_, *rest in found]


def earners() -> list[Earner]:
    """Who gained the most gold since yesterday began."""
    rows = EconomyEarner.objects.filter(day=today() - timedelta(days=1))
    best = rows.order_by("-gold", "character_id")[:MAX_EARNERS]
    return [Earner(*row) for row in best.values_list("character_id", "gold", "xp")]


def progress() -> EconomyProgress | None:
    return EconomyProgress.objects.first()


def _rows(text: str, thing: Thing, days: int, limit: int = 0) -> list[tuple[Any, ...]]:
    named = {**thing._asdict(), "today": today(), "days": days, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(text, named)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
