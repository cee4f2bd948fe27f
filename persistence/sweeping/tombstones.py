"""Corrects tombstones that tell what is no longer so.

An undo whose word to Redis was lost is found by its time, within the next sweep. What
else a tombstone can be wrong about (a PostgreSQL restored from a backup, a worker of an
older release) is found by looking through them all, some pages a sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from combat_history.models import CombatHistory, Status
from persistence.contract import redis_keys
from persistence.contract.outcome import undone_tombstone
from persistence.worker import inbox

LIMIT = 1000
"""Undone combats told of by one sweep, the latest."""

PAGES = 10
PAGE_KEYS = 1000

CURSOR = f"{redis_keys.SWEEP_CURSOR_PREFIX}tombstones"


def raise_undone() -> int:
    """Combats undone while a tombstone of theirs can live; how many still told."""
    lately = Now() - timedelta(seconds=redis_keys.DAY_SECONDS)
    found = CombatHistory.objects.filter(compensated_at__gt=lately)
    latest = found.order_by("-compensated_at").values_list("session_id", "revision")
    return inbox.remember(
        {id_: undone_tombstone(revision) for id_, revision in latest[:LIMIT]}
    )


def forget_untrue() -> int:
    """Tombstones of combats that PostgreSQL does not hold as settled."""
    return sum(map(_mend, _pages()))


def _mend(session_ids: set[UUID]) -> int:
    """The tombstone is written after the commit: what is not there now is not so."""
    # b"" takes a tombstone away: no row, or one that is not settled (any more).
    stands = dict.fromkeys(session_ids, b"")
    rows = CombatHistory.objects.filter(
        pk__in=session_ids, settlement_status=Status.PROCESSED
    ).values_list("session_id", "revision", "compensated_at")
    for session_id, revision, undone_at in rows:
        if undone_at is None:
            del stands[session_id]
        else:
            stands[session_id] = undone_tombstone(revision)
    return inbox.remember(stands)


def _pages() -> Iterator[set[UUID]]:
    """Combats with a tombstone, page by page; the cursor is kept for the next sweep."""
    client = inbox.client()
    kept = client.get(CURSOR) or b""
    cursor = int(kept) if kept.isdigit() else 0
    for _ in range(PAGES):
        cursor, keys = client.scan(cursor, f"{redis_keys.TOMBSTONE_PREFIX}*", PAGE_KEYS)
        yield set(_sessions(keys))
        if cursor == 0:
            break
    client.set(CURSOR, cursor, ex=redis_keys.DAY_SECONDS)


def _sessions(keys: Iterable[Any]) -> Iterator[UUID]:
    for key in keys:
        try:
            yield UUID(key.decode().removeprefix(redis_keys.TOMBSTONE_PREFIX))
        except ValueError:
            continue
