"""Run the Saver of a scope for one player: transaction, retry, confirmation, parking.

The counterpart of `drain` for everything but combats. What was asked for stands as an
intent in Redis until it is committed and confirmed; the sweep sends it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, connection

from persistence.contract.errors import ParkCode
from persistence.protocols import Saved, Saver, SyncScope
from persistence.worker import accounts, intents, rescue, swept
from persistence.worker.parking import Parked, park, resolve
from persistence.worker.sql import Row, run
from persistence.worker.transactions import open_cursor
from persistence.worker.transience import Transience, transience

logger = logging.getLogger(__name__)

TRIES = 3
"""How often a save is tried that met contention: what holds the row lets go within the
lock timeout."""

SaverOf = Callable[[psycopg.Cursor[Row]], Saver]
"""The Saver of a scope, over the cursor of the transaction it works in."""

WHOLE_SAVE = ""
"""`op_id` of a save that failed as a whole: no operation can have it."""


def save(scope: str, char_id: int, saver_of: SaverOf) -> Saved | None:
    """Save, confirm and strike the intent out; None where that has to wait.

    An unexpected error is parked as a row with its words, and not tried again before
    somebody asks.
    """
    started = time.monotonic()
    noted = intents.begin(scope, char_id)
    if scope == SyncScope.CLEANUP and swept.since(noted):
        intents.strike_out(scope, char_id, noted)
        return None
    closing = _closing(scope, char_id)
    try:
        saved = _committed(scope, char_id, saver_of)
    except SoftTimeLimitExceeded:
        # Committed or not, nobody knows: the intent stands, and is served again.
        raise
    except (redis.ConnectionError, redis.TimeoutError):
        logger.warning("not saved, Redis is away", exc_info=True)
        return None
    except Exception as error:  # noqa: BLE001 -- transient waits, the rest is parked
        return _failed(scope, char_id, noted, error)
    # Outside the transaction: rescue opens one of its own where a result is unusable.
    if saved.unsent:
        for session_id, raw in saved.unsent.items():
            rescue.hand_off(session_id, raw)
    if saved.confirm() is False:
        # More came since the save: what is closing stays named, and is saved again.
        saved = replace(saved, again=True)
    if closing and not saved.again:
        accounts.closed(char_id, scope, closing)
    if not saved.again and not intents.strike_out(scope, char_id, noted):
        # Whoever noted it anew relied on this message.
        saved = replace(saved, again=True)
    _log(scope, char_id, "saved", started, saved)
    return saved


def _committed(scope: str, char_id: int, saver_of: SaverOf) -> Saved:
    for tries_left in reversed(range(TRIES)):
        try:
            with open_cursor() as cursor:
                saved = saver_of(cursor).save(char_id)
                resolve(cursor, scope, char_id, [WHOLE_SAVE])
        except (DatabaseError, InterfaceError, psycopg.Error) as error:
            if not tries_left or transience(error) is not Transience.CONTENTION:
                raise
        else:
            return saved
    raise AssertionError("unreachable")


def _closing(scope: str, char_id: int) -> list[str]:
    """Sessions that close, read before the save: it saves none that closes later."""
    if scope in (SyncScope.COMBAT_RESULT, SyncScope.VITALS, SyncScope.CLEANUP):
        return []
    return accounts.closing(char_id, scope)


def _failed(scope: str, char_id: int, noted: bytes, error: Exception) -> Saved | None:
    kind = transience(error)
    if kind is Transience.CONNECTION:
        connection.close()
    logger.log(
        logging.WARNING if kind else logging.ERROR,
        "save",
        exc_info=kind is None,
        extra={"scope": scope, "char_id": char_id, "error": f"{error}".strip()},
    )
    if kind is not None:
        return None
    words = f"{type(error).__name__}: {error}"
    # It would fail each time: the row waits for a person instead of the intent.
    parked = Parked(scope, char_id, WHOLE_SAVE, {}, ParkCode.UNEXPECTED, words)
    with open_cursor() as cursor:
        run(cursor.connection, [park([parked])])
    intents.strike_out(scope, char_id, noted)
    return None


def _log(scope: str, char_id: int, outcome: str, started: float, saved: Saved) -> None:
    logger.info(
        "save",
        extra={
            "scope": scope,
            "char_id": char_id,
            "outcome": outcome,
            "duration_ms": round((time.monotonic() - started) * 1000, 1),
            **saved.counts,
        },
    )
