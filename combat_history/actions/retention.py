"""Retention: forgets fight logs of combats that are over, old counts and events,
refused bytes.

In batches, each a transaction of its own: no lock is held for long, and a run that is
stopped goes on with the next one. The history itself is never deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from persistence.contract.ids import NO_SESSION

BATCH = 1000

# What waits for a decision keeps its fight log: people look at it to decide.
NEXT_COMBATS = """
SELECT finished_at, session_id, settlement_status IN ('processed', 'voided')
FROM combat_history
WHERE (finished_at, session_id) > (%s, %s) AND finished_at < %s
ORDER BY finished_at, session_id LIMIT %s
"""

FIRST_KEY = (datetime.min.replace(tzinfo=UTC), NO_SESSION)

MEASURE_LOGS = """
SELECT count(*), coalesce(sum(octet_length(data)), 0)
FROM combat_replay WHERE session_id = ANY(%s)
"""

DELETE_LOGS = """
WITH gone AS (
    DELETE FROM combat_replay WHERE session_id = ANY(%s) RETURNING octet_length(data)
)
SELECT count(*), coalesce(sum(octet_length), 0) FROM gone
"""

DELETE_COUNTS = """
DELETE FROM minute_counts WHERE (minute, name, process) IN (
    SELECT minute, name, process FROM minute_counts WHERE minute < %s
    ORDER BY minute LIMIT %s)
"""

MEASURE_REJECTED = """
SELECT count(*), coalesce(sum(octet_length(raw)), 0) FROM rejected_payloads
WHERE raw IS NOT NULL AND last_seen_at < %s
"""

EMPTY_REJECTED = """
WITH old AS (
    SELECT id, octet_length(raw) AS size FROM rejected_payloads
    WHERE raw IS NOT NULL AND last_seen_at < %s ORDER BY id LIMIT %s FOR UPDATE
), emptied AS (
    UPDATE rejected_payloads r SET raw = NULL FROM old WHERE r.id = old.id
    RETURNING old.size
)
SELECT count(*), coalesce(sum(size), 0) FROM emptied
"""

# By the id, which is in the order of time, give or take a transaction; none that the
# stream has not been told.
OLD_EVENTS = """
SELECT id FROM (
    SELECT id, created_at FROM settlement_events
    WHERE id <= (SELECT published FROM event_publications WHERE channel = 'stream')
    ORDER BY id {limit}
) first WHERE created_at < %s
"""
COUNT_EVENTS = f"SELECT count(*) FROM ({OLD_EVENTS.format(limit='')}) old"  # noqa: S608 -- own text
DELETE_EVENTS = (
    "DELETE FROM settlement_events "  # noqa: S608 -- own text
    f"WHERE id IN ({OLD_EVENTS.format(limit='LIMIT %s')})"
)

COUNT_COUNTS = "SELECT count(*) FROM minute_counts WHERE minute < %s"


@dataclass(frozen=True, slots=True)
class Pruned:
    """The sum of what was forgotten. `size`: in bytes, compressed as stored."""

    rows: int = 0
    size: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(self.rows + other.rows, self.size + other.size)


def prune_logs(before: datetime, batch: int, *, dry_run: bool) -> Iterator[Pruned]:
    """Delete the fight logs of combats that finished before; one result a batch."""
    sql = MEASURE_LOGS if dry_run else DELETE_LOGS
    for ids in _finished(before, batch):
        (row,) = _run(sql, [ids])
        yield Pruned(int(row[0]), int(row[1]))


def prune_counts(before: datetime, batch: int, *, dry_run: bool) -> Iterator[Pruned]:
    if dry_run:
        ((rows,),) = _run(COUNT_COUNTS, [before])
        yield Pruned(rows)
    else:
        yield from _deleted(DELETE_COUNTS, [before, batch], batch)


def prune_events(before: datetime, batch: int, *, dry_run: bool) -> Iterator[Pruned]:
    if dry_run:
        ((rows,),) = _run(COUNT_EVENTS, [before])
        yield Pruned(rows)
    else:
        yield from _deleted(DELETE_EVENTS, [batch, before], batch)


def _deleted(sql: str, parameters: list[Any], batch: int) -> Iterator[Pruned]:
    rows = batch
    while rows == batch:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            rows = cursor.rowcount
        yield Pruned(rows)


def prune_rejected(before: datetime, batch: int, *, dry_run: bool) -> Iterator[Pruned]:
    """Empty rejected payloads that were not seen since; one result a batch."""
    rows = batch
    while rows == batch:
        sql, parameters = EMPTY_REJECTED, [before, batch]
        if dry_run:
            sql, parameters = MEASURE_REJECTED, [before]
        ((rows, size),) = _run(sql, parameters)
        yield Pruned(rows, size)
        if dry_run:
            return


def _finished(before: datetime, batch: int) -> Iterator[list[UUID]]:
    """Sessions by their key, so that no run reads what it has behind it again."""
    key: tuple[Any, Any] = FIRST_KEY
    while True:
        rows = _run(NEXT_COMBATS, [*key, before, batch])
        yield [session_id for _, session_id, is_over in rows if is_over]
        if len(rows) < batch:
            return
        key = rows[-1][:2]


def _run(sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
