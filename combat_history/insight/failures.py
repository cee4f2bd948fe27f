"""Failed combats, grouped by cause and subject, with what is at stake in each group.

Reads the index of failed rows alone, and of them at most MAX_LOOKED_AT, the newest
first: what it costs grows neither with the history nor with an outage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import CharField, Exists, OuterRef, QuerySet
from django.db.models.functions import Cast
from django.utils import timezone

from combat_history.models import CombatHistory, Status, Triage
from persistence.contract.changes import MAX_AMOUNT
from persistence.contract.payload import PLAYER_KEY

MAX_LOOKED_AT = 5_000

MAX_GROUPS = 50
"""Groups that are told, the largest first."""


@dataclass(frozen=True, slots=True)
class Stakes:
    """The rewards that failed combats withhold. `oldest`, `newest`: when received."""

    combats: int
    acknowledged: int
    players: int
    xp: int
    gold: int
    items: int
    oldest: datetime
    newest: datetime


class Cause(NamedTuple):
    """What failed combats have in common; `subject`: None is any.

    Snoozed combats are a group of their own.
    """

    code: str
    subject: str | None = None
    is_snoozed: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Failed combats of one cause; its subject is "" where the code says it all."""

    cause: Cause
    stakes: Stakes


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed combats by group. `is_cut`: there are more than were looked at.

    `more_groups`: smaller ones that are not told.
    """

    groups: list[Group]
    more_groups: int
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
    SELECT session_id, failure_code, failure_subject, received_at, participant_ids,
           revision, result_payload
    FROM combat_history
    WHERE settlement_status = 'failed'
    ORDER BY received_at DESC
    LIMIT %(limit)s
), failed AS MATERIALIZED (
    SELECT h.session_id, h.failure_code, h.failure_subject, h.received_at,
           h.participant_ids, coalesce(r.document, h.result_payload) AS document,
           coalesce(t.snoozed_until > %(now)s, false) AS is_snoozed,
           t.acknowledged_at IS NOT NULL AS is_acknowledged
    FROM looked_at h
    LEFT JOIN triage t ON t.kind = 'combat' AND t.target_id = h.session_id::text
    LEFT JOIN combat_revisions r
        ON h.revision > 1 AND r.session_id = h.session_id AND r.revision = h.revision
), part AS MATERIALIZED (
    SELECT f.failure_code, f.failure_subject, f.is_snoozed, p.value
    FROM failed f
    CROSS JOIN LATERAL jsonb_path_query(
        f.document,
        '$.participants.keyvalue() ? (@.key like_regex "^{PLAYER_KEY.pattern}$").value',
        '{{}}', true
    ) AS p (value)
), amounts AS (
    SELECT failure_code, failure_subject, is_snoozed,
           sum({_amount("value", "$.changes.xp_gained")}) AS xp,
           sum({_amount("value", "$.changes.gold_gained")}) AS gold
    FROM part
    GROUP BY 1, 2, 3
), items AS (
    SELECT failure_code, failure_subject, is_snoozed,
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
    SELECT failure_code, failure_subject, is_snoozed,
           count(DISTINCT player.id) AS players
    FROM failed, unnest(participant_ids) AS player (id)
    GROUP BY 1, 2, 3
)
SELECT f.failure_code, f.failure_subject, f.is_snoozed, count(*),
       count(*) FILTER (WHERE f.is_acknowledged), coalesce(min(p.players), 0),
       coalesce(min(a.xp), 0), coalesce(min(a.gold), 0), coalesce(min(i.items), 0),
       min(f.received_at), max(f.received_at)
FROM failed f
LEFT JOIN players p USING (failure_code, failure_subject, is_snoozed)
LEFT JOIN amounts a USING (failure_code, failure_subject, is_snoozed)
LEFT JOIN items i USING (failure_code, failure_subject, is_snoozed)
GROUP BY 1, 2, 3
ORDER BY 3, 4 DESC, 1, 2
"""  # noqa: S608 -- of constants


def failures(limit: int = MAX_LOOKED_AT) -> Failures:
    """All groups, the largest first; snoozed ones last."""
    with connection.cursor() as cursor:
        cursor.execute(_GROUPS, {"limit": limit, "now": timezone.now()})
        groups = [_group(row) for row in cursor.fetchall()]
    seen = sum(group.stakes.combats for group in groups)
    is_cut = seen == limit and _failed()[limit : limit + 1].exists()
    return Failures(groups[:MAX_GROUPS], max(0, len(groups) - MAX_GROUPS), is_cut)


def members(cause: Cause) -> QuerySet[CombatHistory]:
    """The failed combats of a group, oldest first."""
    rows = _failed().filter(failure_code=cause.code)
    if cause.subject is not None:
        rows = rows.filter(failure_subject=cause.subject)
    snoozed = Triage.objects.filter(
        kind=Triage.Kind.COMBAT,
        target_id=Cast(OuterRef("pk"), CharField()),
        snoozed_until__gt=timezone.now(),
    )
    is_snoozed = Exists(snoozed)
    rows = rows.filter(is_snoozed if cause.is_snoozed else ~is_snoozed)
    return rows.order_by("received_at", "session_id")


def member_ids(cause: Cause, limit: int) -> list[UUID]:
    return list(members(cause).values_list("session_id", flat=True)[:limit])


def _failed() -> QuerySet[CombatHistory]:
    return CombatHistory.objects.filter(settlement_status=Status.FAILED)


def _group(row: Sequence[Any]) -> Group:
    code, subject, is_snoozed, combats, acknowledged, players, *amounts = row
    *given, oldest, newest = amounts
    xp, gold, items = map(int, given)
    stakes = Stakes(combats, acknowledged, players, xp, gold, items, oldest, newest)
    return Group(Cause(code, subject, is_snoozed), stakes)
