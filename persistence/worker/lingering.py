"""A drain that finds nothing more waits: the next hand-off wakes it by a key.

Then no message is needed, whose way through the broker and the pool takes longer than
settling. A wake-up is a hint that may be lost, as a ring is: beat drains the inbox. The
youngest drain takes the place of the one before, so that one waits per installation,
and no message is sent to have it go on. See docs/decisions/0054-lingering.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from uuid import uuid4

import redis
from celery import current_app
from kombu.exceptions import OperationalError as BrokerError

from persistence.contract import redis_keys
from persistence.worker import inbox, occupancy, rings

logger = logging.getLogger(__name__)

TURN_SECONDS = 0.2
"""How long others wait at most for a process that lingers."""


def linger(until: float, drain: Callable[[], bool]) -> None:
    """Wait for hand-offs and drain after each, to the monotonic moment `until`.

    Ends before, within a turn, where the process is wanted: by a message that waits, by
    a younger drain, by a stop; or where `drain` says so.
    """
    if not occupancy.is_told():
        return
    place = str(uuid4())
    try:
        inbox.client().set(redis_keys.LINGERER, place, px=redis_keys.LINGERER_TTL_MS)
        while time.monotonic() < until and not _is_wanted():
            is_ours, is_woken = _turn(place)
            if (is_woken and not drain()) or not is_ours:
                break
        leave(place)
    except redis.RedisError:
        logger.warning("lingering ended; beat drains the inbox", exc_info=True)


def leave(place: str) -> None:
    """Leave the place, if it is still ours; a wake-up that came meanwhile is a ring."""
    keys = [redis_keys.LINGERER, redis_keys.WAKE]
    if inbox.script("linger_end")(keys=keys, args=[place]):
        rings.ring()


def _turn(place: str) -> tuple[bool, bool]:
    """Wait for a turn; whether the place was still ours, and whether we were woken."""
    # One round trip, for the time between two waits is the time a wake-up has to wait.
    with inbox.client().pipeline(transaction=False) as pipe:
        # Another's is renewed, too: that one does so five times a second.
        pipe.pexpire(redis_keys.LINGERER, redis_keys.LINGERER_TTL_MS)
        pipe.get(redis_keys.LINGERER)
        pipe.blpop([redis_keys.WAKE], timeout=TURN_SECONDS)
        _, holder, wake = pipe.execute()
    return holder == place.encode(), wake is not None


def _is_wanted() -> bool:
    """By its own worker, which takes no message while every process has one."""
    return occupancy.is_wanted() or (occupancy.is_last() and _is_message_waiting())


def _is_message_waiting() -> bool:
    """In any queue that this worker listens to; where it cannot be told, one does."""
    try:
        with current_app.connection_or_acquire() as connection:
            channel = connection.default_channel
            for queue in current_app.amqp.queues.consume_from:
                try:
                    found = channel.queue_declare(queue=queue, passive=True)
                except connection.channel_errors:
                    continue  # on Redis a queue is there while something waits in it
                if found.message_count:
                    return True
    except (BrokerError, redis.RedisError, OSError):
        logger.warning("broker not reachable, not lingering", exc_info=True)
        return True
    return False
