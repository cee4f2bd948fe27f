"""Publishes events, in the order of their ids: to the stream, to a task of the game.

One publisher a channel, by a lock of PostgreSQL that dies with its transaction. Told
first, noted then: who is killed in between tells again, with the same ids. How far a
channel has come is a row; of the stream it is the lesser of that and what the stream
itself says, so that a Redis that has lost the end of it is told again.
See docs/decisions/0068-events.md.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import psycopg
import redis
from django.conf import settings
from django.db import Error
from kombu.exceptions import OperationalError as BrokerError
from pydantic_core import from_json

from persistence.contract import redis_keys
from persistence.worker import inbox, rings
from persistence.worker.sql import Row, fetch
from persistence.worker.transactions import open_cursor

if TYPE_CHECKING:
    from psycopg import Cursor

logger = logging.getLogger(__name__)

_CHANNELS = STREAM, TASK = "stream", "task"

BATCH = 500
"""Events of one transaction."""
TASK_BATCH = 50
"""Each of them is a message."""

PACE_SECONDS = 0.25
"""How often a drain that has more to do stops to publish, at most."""

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('settlement_events'), %s)"

READ_HORIZON = """
SELECT settlement_events_horizon(),
       coalesce(pg_sequence_last_value('settlement_events_id_seq'), 0),
       (SELECT published FROM event_publications WHERE channel = %s)
"""

READ_EVENTS = """
SELECT id, json_build_object(
    'id', id, 'kind', kind, 'session_id', session_id, 'op_id', op_id,
    'character_ids', character_ids, 'body', body, 'created_at', created_at)::text
FROM settlement_events
WHERE id > %s AND id <= %s
ORDER BY id LIMIT %s
"""
"""In a statement after the one that read the horizon: what committed before is seen."""

NOTE = """
INSERT INTO event_publications (channel, published) VALUES (%s, %s)
ON CONFLICT (channel) DO UPDATE
SET published = EXCLUDED.published, at = clock_timestamp()
"""


class Ahead(Exception):
    """The stream has ids that the table has not given yet: it was restored."""

    def __init__(self, top: int, last: int) -> None:
        super().__init__(top, last)
        self.top = top
        self.last = last

    def __str__(self) -> str:
        return (
            f"the stream is at event {self.top}, the table at {self.last}: advance "
            "settlement_events_id_seq, as the page about restoring says"
        )


class _Pace:
    """Of this process: when it published last, and whether it owes anything."""

    at = 0.0
    is_owed = False


def after_batch(settled: int, *, is_last: bool) -> None:
    """Publish what a drain has written, now or, where it has more to do, soon.

    Never fails the drain: what is owed is paid by the next batch, or by beat.
    """
    now = time.monotonic()
    _Pace.is_owed = _Pace.is_owed or settled > 0
    if not _Pace.is_owed or not (is_last or now - _Pace.at > PACE_SECONDS):
        return
    _Pace.is_owed = not _publish(STREAM, now + PACE_SECONDS if is_last else now)
    _Pace.at = time.monotonic()
    if settings.SETTLEMENT_EVENTS_TASK:
        rings.ring_for_events()


def publish_all(seconds: float) -> None:
    """Publish what waits on every channel, for so long on each."""
    _publish(STREAM, time.monotonic() + seconds)
    if settings.SETTLEMENT_EVENTS_TASK:
        _publish(TASK, time.monotonic() + seconds)


def _publish(channel: str, until: float) -> bool:
    """Whether nothing is left."""
    try:
        while (is_full := _round(channel)) and time.monotonic() < until:
            pass
    except (redis.RedisError, BrokerError, Error, psycopg.Error, Ahead):
        logger.exception("events wait; beat tries again", extra={"channel": channel})
        return False
    return is_full is False


def _round(channel: str) -> bool | None:
    """One transaction; whether more may wait, None where another publisher is at it."""
    with open_cursor() as cursor:
        ((is_ours,),) = fetch(cursor, TRY_LOCK, [_CHANNELS.index(channel)])
        if not is_ours:
            return None
        ((horizon, last, published),) = fetch(cursor, READ_HORIZON, [channel])
        if published is None and channel == TASK:
            # Whoever names a task is told what happens from then on.
            cursor.execute(NOTE, [channel, horizon])
            return False
        if channel == STREAM:
            ids, batch = _to_stream(cursor, published or 0, horizon, last), BATCH
        else:
            ids, batch = _to_task(cursor, published, horizon), TASK_BATCH
        if ids:
            cursor.execute(NOTE, [channel, ids[-1]])
        return len(ids) == batch


def _to_stream(
    cursor: Cursor[Row], published: int, horizon: int, last: int
) -> list[int]:
    """The ids that are published now."""
    kept = settings.SETTLEMENT_EVENTS_KEPT
    while True:
        # More than the stream keeps it would only drop again.
        start = max(published, horizon - kept)
        events = fetch(cursor, READ_EVENTS, [start, horizon, BATCH])
        words = [word for event in events for word in event]
        top = inbox.script("publish")(
            keys=[redis_keys.EVENTS], args=[kept, published, *words]
        )
        if top >= published:
            break
        # Redis has lost what came after that: once more.
        published = top
    if top > last:
        raise Ahead(top, last)
    return [id_ for id_, _ in events]


def _to_task(cursor: Cursor[Row], published: int, horizon: int) -> list[int]:
    events = fetch(cursor, READ_EVENTS, [published, horizon, TASK_BATCH])
    for _, text in events:
        rings.send(
            settings.SETTLEMENT_EVENTS_TASK,
            [from_json(text)],
            queue=settings.SETTLEMENT_EVENTS_QUEUE,
        )
    return [id_ for id_, _ in events]
