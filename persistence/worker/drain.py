"""Settle leased inbox entries: together when first delivered, alone after that.

This layer owns transactions, retries, splitting and effects; the Saver owns the rules.
Every way out leaves an entry finished, released, or leased until its lease runs out.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.protocols import CombatSaver, Delivery, Outcome, Verdict
from persistence.worker import attempts, counts, inbox, known, refused, rejected
from persistence.worker.entries import Entry
from persistence.worker.sql import Row
from persistence.worker.transactions import open_cursor, renew_connection
from persistence.worker.transience import Transience, transience

logger = logging.getLogger(__name__)

BATCH_RETRY_WITHIN_SECONDS = 5
"""A batch that already waited this long is not tried again before the soft limit."""

ISOLATE_WITHIN_SECONDS = 15
"""Combats settled alone after this would meet the soft limit; the rest go back."""

MAX_BACKOFF_STEPS = 5

RETRY = "retry"
"""Outcome in the log of a try that ended in a transient error."""

SaverOf = Callable[[psycopg.Cursor[Row]], CombatSaver]
"""The Saver of combats, over the cursor of the transaction it works in."""

_uncounted: list[Verdict] = []
"""Tries that ended in order while PostgreSQL was away: taken back when it returns."""


def settle_entries(entries: Sequence[Entry], started: float, saver_of: SaverOf) -> bool:
    """Settle what one claim returned. `started`: monotonic start of the task.

    False where PostgreSQL was not to be had: claiming more would only move it on.
    """
    # One that was claimed before may be what ended its worker: it takes nobody along.
    first = [entry for entry in entries if entry.claims <= 1]
    again = [entry for entry in entries if entry.claims > 1]
    if first and not _settle_together(first, started, saver_of):
        inbox.release(again, 0, uncount=True)
        return False
    _isolate(again, started, saver_of)
    return True


def check_connection() -> None:
    """Start on a connection that works; take back the tries still owed to it."""
    renew_connection()
    while _uncounted:
        with open_cursor() as cursor:
            cursor.execute(attempts.UNCOUNT_TRY, [_uncounted[-1].session_id])
        _uncounted.pop()


def _settle_together(
    entries: Sequence[Entry], started: float, saver_of: SaverOf
) -> bool:
    batch_started = time.monotonic()
    for retry_left in (True, False):
        try:
            with open_cursor() as cursor:
                deliveries = [_delivery(entry) for entry in entries]
                verdicts = saver_of(cursor).settle(deliveries)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # noqa: BLE001 -- each kind has its own way on
            kind = transience(error)
            _log_batch_error(error, kind, len(entries))
            used = time.monotonic() - batch_started
            # A deadlock or a lost connection says nothing about any of the combats.
            if kind and retry_left and used < BATCH_RETRY_WITHIN_SECONDS:
                _after(kind)
                continue
            if kind is Transience.CONNECTION:
                connection.close()
                # Not counted: a lost connection says nothing about any of them.
                inbox.release(entries, _backoff_ms(1), uncount=True)
                return False
            break
        else:
            _finish(_pair(entries, verdicts), batch_started)
            return True
    _isolate(entries, started, saver_of)
    return True


def _isolate(entries: Sequence[Entry], started: float, saver_of: SaverOf) -> None:
    """Settle each alone, so that the one at fault takes nothing else down."""
    for position, entry in enumerate(entries):
        if time.monotonic() - started > ISOLATE_WITHIN_SECONDS:
            inbox.release(entries[position:], 0, uncount=False)
            return
        entry_started = time.monotonic()
        verdict = _settle_alone(entry, saver_of)
        _finish([(entry, verdict)] if verdict else [], entry_started)


def _settle_alone(entry: Entry, saver_of: SaverOf) -> Verdict | None:
    """One combat behind its own committed receipt; None where it has to wait."""
    delivery = _delivery(entry)
    started = time.monotonic()
    try_id = None
    try:
        # Committed before the try: one that ends its worker is counted all the same.
        with open_cursor() as cursor:
            saver_of(cursor).insert_pending([delivery])
            begun = attempts.begin(
                cursor, entry.session_id, _worker(), settings.SETTLEMENT_LEASE_MS
            )
            if begun is not None and begun[1] > settings.SETTLEMENT_MAX_ATTEMPTS:
                return _fail_poison(cursor, entry, begun[0])
        try_id = begun[0] if begun else None
        with open_cursor() as cursor:
            (verdict,) = saver_of(cursor).settle([delivery])
            if try_id is not None:
                attempts.end(cursor, try_id, verdict)
        return verdict
    except SoftTimeLimitExceeded:
        # Whether it was committed is not known: the lease runs out and the row tells.
        raise
    except Exception as error:  # noqa: BLE001 -- transient waits, the rest is recorded
        return _ended_in_error(entry, delivery, try_id, error, started)


def _ended_in_error(
    entry: Entry,
    delivery: Delivery,
    try_id: int | None,
    error: Exception,
    started: float,
) -> Verdict | None:
    kind = transience(error)
    code = str(FailureCode.UNEXPECTED) if kind is None else "transient"
    verdict = Verdict(
        entry.session_id,
        Outcome.FAILED,
        code,
        f"{type(error).__name__}: {error}",
        sha256=entry.sha256,
    )
    if kind is not None:
        _log([entry.session_id], RETRY, verdict.code, entry.claims, _ms_since(started))
        _after(kind)
        _take_back(try_id, verdict)
        inbox.release([entry], _backoff_ms(entry.claims), uncount=False)
        return None
    text = "".join(traceback.format_exception(error))
    with open_cursor() as cursor:
        failed = attempts.fail(
            cursor, entry.session_id, verdict.code, verdict.detail, text
        )
        if try_id is not None:
            attempts.end(cursor, try_id, verdict)
        # Without a row to fail: the bytes are kept where any can be.
        if failed:
            return verdict
        unkept = PayloadInvalid.single(code, "", verdict.detail)
        return rejected.reject(cursor, delivery, unkept)


def _take_back(try_id: int | None, verdict: Verdict) -> None:
    if try_id is None:
        return
    try:
        with open_cursor() as cursor:
            attempts.end(cursor, try_id, verdict)
    except (DatabaseError, InterfaceError, psycopg.Error):
        logger.warning("try not taken back yet", exc_info=True)
        connection.close()
        _uncounted.append(verdict)


def _fail_poison(cursor: psycopg.Cursor[Row], entry: Entry, try_id: int) -> Verdict:
    verdict = Verdict(
        entry.session_id,
        Outcome.FAILED,
        str(FailureCode.POISON),
        f"{settings.SETTLEMENT_MAX_ATTEMPTS} tries killed their worker",
        sha256=entry.sha256,
    )
    attempts.fail(cursor, entry.session_id, verdict.code, verdict.detail, None)
    attempts.end(cursor, try_id, verdict)
    return verdict


def _finish(settled: Sequence[tuple[Entry, Verdict]], started: float) -> None:
    """Effects after commit. If Redis fails here the leases run out and repeat them."""
    if not settled:
        return
    for outcome, number in Counter(verdict.outcome for _, verdict in settled).items():
        counts.count(f"{counts.COMBAT}{outcome}", number)
    # In this order: whoever dies in between has the leases run out, and repeats it.
    try:
        _disown_refused(settled)
        inbox.finish(settled)
        counts.count(f"{counts.EFFECTS}applied", len(settled))
    except redis.RedisError:
        logger.exception("effects not confirmed", extra={"combats": len(settled)})
        counts.count(f"{counts.EFFECTS}not_confirmed", len(settled))
    _log_ends(settled, _ms_since(started))


def _disown_refused(settled: Sequence[tuple[Entry, Verdict]]) -> None:
    """Before the entries go: whoever is killed here does it again."""
    for entry, verdict in settled:
        stands = verdict.sha256
        if entry.raw is not None and stands is not None and stands != entry.sha256:
            refused.disown(entry.raw)


def _after(kind: Transience) -> None:
    # A connection that broke inside a transaction is of no further use to Django.
    if kind is Transience.CONNECTION:
        connection.close()


def _backoff_ms(claims: int) -> int:
    base: int = settings.SETTLEMENT_BACKOFF_MS
    return base << min(claims, MAX_BACKOFF_STEPS)


def _delivery(entry: Entry) -> Delivery:
    accepted = entry.accepted_at_ms
    return Delivery(
        session_id=entry.session_id,
        raw=entry.raw,
        sha256=entry.sha256,
        accepted_at=datetime.fromtimestamp(accepted / 1000, UTC) if accepted else None,
        signature=entry.signature,
        conflicts=entry.conflicts,
        read=known.take(entry.raw),
        roster=entry.roster,
    )


def _pair(
    entries: Sequence[Entry], verdicts: Sequence[Verdict]
) -> list[tuple[Entry, Verdict]]:
    by_session = {verdict.session_id: verdict for verdict in verdicts}
    return [(entry, by_session[entry.session_id]) for entry in entries]


def _worker() -> str:
    return f"{os.uname().nodename}:{os.getpid()}"


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)


def _log_batch_error(error: Exception, kind: Transience | None, combats: int) -> None:
    logger.warning(
        "batch rolled back",
        exc_info=kind is None,
        extra={
            "error": f"{type(error).__name__}: {error}".strip(),
            "transient": kind.name.lower() if kind else "no",
            "combats": combats,
        },
    )


def _log_ends(settled: Sequence[tuple[Entry, Verdict]], duration_ms: float) -> None:
    """One line for all that ended alike: a line each took an eighth of a drain."""
    alike: defaultdict[tuple[str, str, int], list[UUID]] = defaultdict(list)
    for entry, verdict in settled:
        end = verdict.outcome, verdict.code, entry.claims
        alike[end].append(verdict.session_id)
    for (outcome, code, attempt), session_ids in alike.items():
        _log(session_ids, outcome, code, attempt, duration_ms)


def _log(
    session_ids: Sequence[UUID],
    outcome: str,
    code: str,
    attempt: int,
    duration_ms: float,
) -> None:
    levels = {Outcome.FAILED: logging.ERROR, RETRY: logging.WARNING}
    logger.log(
        levels.get(outcome, logging.INFO),
        "combats",
        extra={
            "outcome": outcome,
            "code": code,
            "attempt": attempt,
            "duration_ms": duration_ms,
            "combats": len(session_ids),
            "session_ids": ",".join(map(str, session_ids)),
        },
    )
