"""What waits for a person beside failed combats, and has not been seen by one.

Bounded: of each kind the newest MAX_LOOKED_AT are looked at.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.db import connection

MAX_LOOKED_AT = 1_000


class Waiting(NamedTuple):
    """`players`: whom it concerns, where the table says so; else 0."""

    kind: str
    number: int
    players: int
    oldest: datetime


MAX_PLAYERS = 10
"""Players handed over who are told, those who wait longest first."""


class HandedOver(NamedTuple):
    character_id: int
    name: str
    to: str
    note: str
    since: datetime


_HANDED_OVER = """
SELECT c.id, c.name, t.assigned_to, t.note, t.updated_at
FROM (SELECT * FROM triage
      WHERE kind = 'player' AND assigned_to <> ''
      ORDER BY updated_at LIMIT %s) t
JOIN characters c ON c.id = t.target_id::bigint
ORDER BY t.updated_at
"""

_SEEN = """
NOT EXISTS (
    SELECT FROM triage
    WHERE kind = '{kind}' AND target_id = newest.id::text
      AND (acknowledged_at IS NOT NULL OR snoozed_until > now()))
"""

_WAITING = f"""
SELECT 'rejected', count(*), 0, min(received_at)
FROM (SELECT id, received_at FROM rejected_payloads WHERE handed_over_at IS NULL
      ORDER BY id DESC LIMIT %(rows)s) newest
WHERE {_SEEN.format(kind="rejected")}
UNION ALL
SELECT 'parked', count(*), count(DISTINCT character_id), min(parked_at)
FROM (SELECT id, character_id, parked_at FROM parked_operations
      WHERE resolved_at IS NULL ORDER BY id DESC LIMIT %(rows)s) newest
WHERE {_SEEN.format(kind="parked")}
UNION ALL
SELECT 'discrepancy', count(*), count(DISTINCT character_id), min(recorded_at)
FROM (SELECT id, character_id, recorded_at FROM settlement_discrepancies
      ORDER BY id DESC LIMIT %(rows)s) newest
WHERE {_SEEN.format(kind="discrepancy")}
"""  # noqa: S608 -- of constants


def waiting() -> list[Waiting]:
    """Of each kind that there is something of, the most urgent kind first."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"rows": MAX_LOOKED_AT})
        found = [Waiting(*row) for row in cursor.fetchall()]
    return [one for one in found if one.number]


def handed_over() -> list[HandedOver]:
    """Players whom somebody of the team has to look at."""
    with connection.cursor() as cursor:
        cursor.execute(_HANDED_OVER, [MAX_PLAYERS])
        return [HandedOver(*row) for row in cursor.fetchall()]
