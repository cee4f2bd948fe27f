"""Failed combats, grouped by cause and age, with what is at stake in each group.

Reads the index of failed rows alone, and of them at most MAX_LOOKED_AT, the newest
first: what it costs grows neither with the history nor with an outage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from combat_history.models import CombatHistory, Status
from persistence.contract.changes import MAX_AMOUNT
from persistence.contract.payload import PLAYER_KEY

MAX_LOOKED_AT = 5_000

AGES = (timedelta(hours=1), timedelta(days=1), timedelta(weeks=1))
"""Where one age ends and the next begins; the last group is older than all."""


@dataclass(frozen=True, slots=True)
class Stakes:
    """The rewards that failed combats withhold. `oldest`: when it was received."""

    combats: int
    acknowledged: int
    players: int
    xp: int
    gold: int
    items: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Group:
    """Failed combats of one cause, received in [since, before).

    `age` counts in AGES. Snoozed combats are a group of their own.
    """

    code: str
    age: int
    since: datetime | None
    before: datetime | None
    is_snoozed: bool
    stakes: Stakes


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed combats by group. `is_cut`: there are more than were looked at."""

    groups: list[Group]
    is_cut: bool


# Amounts of a document that failed may be anything; an impossible one counts nothing.
_AMOUNT = (
    'jsonb_path_query_first({source}, \'{path} ? (@.type() == "number" '
    f"&& @ >= -{MAX_AMOUNT} && @ <= {MAX_AMOUNT})', '{{{{}}}}', true)::numeric"
)


def _amount(source: str, path: str) -> str:
    return _AMOUNT.format(source=source, path=path)


# Materialized: a document is taken apart once, for its amounts and items together.
_GROUPS = f"""
WITH looked_at AS MATERIALIZED (
    SELECT session_id, failure_code, received_at, participant_ids, revision,
           result_payload
    FROM combat_history
    WHERE settlement_status = 'failed'
    ORDER BY received_at DESC
    LIMIT %(limit)s
), failed AS MATERIALIZED (
    SELECT h.session_id, h.failure_code, h.received_at, h.participant_ids,
           coalesce(r.document, h.result_payload) AS document,
           (h.received_at < %(hour)s)::int + (h.received_at < %(day)s)::int
               + (h.received_at < %(week)s)::int AS age,
           coalesce(t.snoozed_until > %(now)s, false) AS is_snoozed,
           t.acknowledged_at IS NOT NULL AS is_acknowledged
    FROM looked_at h
    LEFT JOIN triage t ON t.kind = 'combat' AND t.target_id = h.session_id::text
    LEFT JOIN combat_revisions r
        ON h.revision > 1 AND r.session_id = h.session_id AND r.revision = h.revision
), part AS MATERIALIZED (
    SELECT f.failure_code, f.age, f.is_snoozed, p.value
    FROM failed f
    CROSS JOIN LATERAL jsonb_path_query(
        f.document,
        '$.participants.keyvalue() ? (@.key like_regex "^{PLAYER_KEY.pattern}$").value',
        '{{}}', true
    ) AS p (value)
), amounts AS (
    SELECT failure_code, age, is_snoozed,
           sum({_amount("value", "$.changes.xp_gained")}) AS xp,
           sum({_amount("value", "$.changes.gold_gained")}) AS gold
    FROM part
    GROUP BY 1, 2, 3
), items AS (
    SELECT failure_code, age, is_snoozed,
           sum(CASE WHEN item.value ? 'qty'
               THEN {_amount("item.value", "$.qty")} ELSE 1 END) AS items
    FROM part
    CROSS JOIN LATERAL jsonb_path_query(
        CASE WHEN jsonb_typeof(value #> '{{changes,items_gained}}') = 'array'
            THEN value #> '{{changes,items_gained}}'
            ELSE value #> '{{ui_report,loot_obtained}}' END,
        'lax $[*] ? (@.type() == "object")', '{{}}', true
    ) AS item (value)
    GROUP BY 1, 2, 3
), players AS (
    SELECT failure_code, age, is_snoozed, count(DISTINCT player.id) AS players
    FROM failed, unnest(participant_ids) AS player (id)
    GROUP BY 1, 2, 3
)
SELECT f.failure_code, f.age, f.is_snoozed, count(*),
       count(*) FILTER (WHERE f.is_acknowledged), coalesce(min(p.players), 0),
       coalesce(min(a.xp), 0), coalesce(min(a.gold), 0), coalesce(min(i.items), 0),
       min(f.received_at)
FROM failed f
LEFT JOIN players p USING (failure_code, age, is_snoozed)
LEFT JOIN amounts a USING (failure_code, age, is_snoozed)
LEFT JOIN items i USING (failure_code, age, is_snoozed)
GROUP BY 1, 2, 3
ORDER BY 3, 2, 4 DESC, 1
"""  # noqa: S608 -- of constants


def failures(limit: int = MAX_LOOKED_AT) -> Failures:
    """All groups: newest first, then the largest; snoozed ones last."""
    now = timezone.now()
    bounds = [now - age for age in AGES]
    times = dict(zip(("hour", "day", "week"), bounds, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(_GROUPS, {"limit": limit, "now": now, **times})
        groups = [_group(row, bounds) for row in cursor.fetchall()]
    seen = sum(group.stakes.combats for group in groups)
    is_cut = seen == limit and _failed()[limit : limit + 1].exists()
    return Failures(groups, is_cut)


def members(
    code: str, since: datetime | None, before: datetime | None
) -> QuerySet[CombatHistory]:
    """The failed combats of a group, oldest first."""
    rows = _failed().filter(failure_code=code)
    if since is not None:
        rows = rows.filter(received_at__gte=since)
    if before is not None:
        rows = rows.filter(received_at__lt=before)
    return rows.order_by("received_at", "session_id")


def member_ids(
    code: str, since: datetime | None, before: datetime | None, limit: int
) -> list[UUID]:
    ids = members(code, since, before).values_list("session_id", flat=True)
    return list(ids[:limit])


def _failed() -> QuerySet[CombatHistory]:
    return CombatHistory.objects.filter(settlement_status=Status.FAILED)


def _group(row: Sequence[Any], bounds: Sequence[datetime]) -> Group:
    code, age, is_snoozed, combats, acknowledged, players, xp, gold, items, oldest = row
    return Group(
        code,
        age,
        since=bounds[age] if age < len(bounds) else None,
        before=bounds[age - 1] if age > 0 else None,
        is_snoozed=is_snoozed,
        stakes=Stakes(
            combats, acknowledged, players, int(xp), int(gold), int(items), oldest
        ),
    )
