"""Releases belts whose combat is gone: for the sweep alone.

A combat is gone once it is processed or voided, or where nothing is left of it: no
`cs:`, no result, no inbox entry and no pending row. In the second case a grace passes
first: a Redis that was emptied is told of its fights again by their engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from persistence.belts.reservations import LOCK_OWNERS, RELEASE
from persistence.contract import redis_keys
from persistence.contract.ids import NO_SESSION
from persistence.worker import inbox
from persistence.worker.sql import Row, array, fetch
from persistence.worker.transactions import open_cursor

GRACE_MS = 60_000
"""From the first pass that finds nothing of a combat to its belts' release."""

NOTE_MS = 20 * GRACE_MS
"""What was noted and never released has no belt any more."""

PAGE = 500
"""Combats looked at with one statement and one round trip to Redis."""

MAX_RELEASED = 1000
"""Combats of one pass; the next one takes the next."""

HOLDERS = """
SELECT holder.session_id, combat.settlement_status
FROM (SELECT DISTINCT reserved_session_id AS session_id FROM inventory
      WHERE reserved_session_id > %s ORDER BY reserved_session_id LIMIT %s) holder
LEFT JOIN combat_history combat USING (session_id)
ORDER BY holder.session_id
"""

STATUSES = """
SELECT wanted.session_id, combat.settlement_status
FROM unnest(%s::uuid[]) AS wanted (session_id)
LEFT JOIN combat_history combat USING (session_id)
"""

OVER = frozenset({"processed", "voided"})


def release_orphaned() -> int:
    """One pass; how many items were released. Harmless to run twice at once.

    Raises the database's or Redis' own error, also where an owner is locked for long.
    """
    released = combats = 0
    # Redis is asked outside of any transaction; what it said is asked again under
    # locks.
    for holders in _pages():
        orphans = [*_over(holders), *_out_of_grace(holders, _forgotten(holders))]
        released += _release(orphans) if orphans else 0
        combats += len(orphans)
        if combats >= MAX_RELEASED:
            break
    inbox.client().zremrangebyscore(
        redis_keys.BELTS_ORPHANED, "-inf", _now_ms() - NOTE_MS
    )
    return released


def _pages() -> Iterator[list[Row]]:
    """Every combat that holds a belt, with the status of its row."""
    last = NO_SESSION
    while True:
        # A transaction a page: Redis is asked between them, with no snapshot held.
        with open_cursor() as cursor:
            page = fetch(cursor, HOLDERS, [last, PAGE])
        yield page
        if len(page) < PAGE:
            return
        last = page[-1][0]


def _release(orphans: Sequence[UUID]) -> int:
    """Asked again under the owners' locks: a combat that began since keeps its belt."""
    with open_cursor() as cursor:
        owners = fetch(cursor, LOCK_OWNERS, [array(orphans)])
        statuses = fetch(cursor, STATUSES, [array(orphans)])
        gone = [*_over(statuses), *_forgotten(statuses)]
        cursor.execute(RELEASE, [array(gone), array(row[0] for row in owners)])
        released = cursor.rowcount
    inbox.client().zrem(redis_keys.BELTS_ORPHANED, *map(str, orphans))
    return released


def _over(holders: Iterable[Row]) -> list[UUID]:
    return [session_id for session_id, status in holders if status in OVER]


def _forgotten(holders: Iterable[Row]) -> list[UUID]:
    """Combats of which neither Redis nor a row knows anything; one round trip."""
    # A failed combat is asked for like one without a row: it may be replayed, but holds
    # its belts no longer than Redis remembers it.
    asked = [id_ for id_, status in holders if status not in {*OVER, "pending"}]
    with inbox.client().pipeline(transaction=False) as pipeline:
        for session_id in asked:
            pipeline.exists(
                redis_keys.session(session_id), redis_keys.result(session_id)
            )
            pipeline.zscore(redis_keys.INBOX, str(session_id))
        replies = iter(pipeline.execute())
    known = zip(asked, replies, replies, strict=True)
    return [id_ for id_, keys, due in known if not keys and due is None]


def _out_of_grace(holders: Iterable[Row], forgotten: Sequence[UUID]) -> list[UUID]:
    """Note since when they are forgotten; those that have been for long enough."""
    # The first pass only notes the moment. The note lives in Redis, where it goes with
    # everything else: a Redis that was emptied gives each combat a new grace.
    now = _now_ms()
    client = inbox.client()
    remembered = {holder[0] for holder in holders} - set(forgotten)
    if remembered:
        client.zrem(redis_keys.BELTS_ORPHANED, *map(str, remembered))
    if not forgotten:
        return []
    names = list(map(str, forgotten))
    client.zadd(redis_keys.BELTS_ORPHANED, dict.fromkeys(names, now), nx=True)
    since: Any = client.zmscore(redis_keys.BELTS_ORPHANED, names)
    return [
        session_id
        for session_id, noted in zip(forgotten, since, strict=True)
        if noted is not None and noted <= now - GRACE_MS
    ]


def _now_ms() -> int:
    seconds, microseconds = inbox.client().time()
    return seconds * 1000 + microseconds // 1000
