"""The Celery tasks: thin edges over `drain`, `inbox` and the Savers.

A message is a hint that may be lost or repeated; the inbox entry is what counts.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

import redis
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task, shared_task
from celery.signals import worker_ready
from celery.utils.saferepr import saferepr
from django.conf import settings
from psycopg import Cursor

from persistence.contract.document import Document, digest, readable
from persistence.contract.errors import PayloadInvalid
from persistence.contract.players import player_id
from persistence.contract.signing import as_signature
from persistence.engine.handoff import Handoff, unchecked
from persistence.protocols import Delivery, Outcome, scope_of
from persistence.savers import registry
from persistence.savers.cleanup_saver import CleanupStateSaver
from persistence.savers.registry import combat_saver
from persistence.worker import (
    counts,
    drain,
    inbox,
    known,
    lingering,
    publishing,
    rejected,
    rings,
    saves,
)
from persistence.worker import mode as settlement
from persistence.worker.intake import taking
from persistence.worker.keeping import RETRY_SECONDS, keep
from persistence.worker.rejected import Rejected
from persistence.worker.sql import Row
from persistence.worker.unreadable import refuse_call

logger = logging.getLogger(__name__)


class CombatTask(Task[Any, Any]):
    Request = "persistence.worker.intake.requests:ReadableRequest"


@shared_task(
    name="settle_combat",  # contract with the engine's send_task
    base=CombatTask,
    acks_late=True,  # a killed worker means redelivery; the inbox makes it harmless
    acks_on_timeout=False,  # so does one that is killed because it hangs
    ignore_result=True,  # combat_history is the result
    max_retries=3,  # bounds redelivery after a lost worker
    default_retry_delay=1,
)
def settle_combat(
    payload: Document | str | None = None,
    signature: object = None,
    *more: object,
    **unknown: object,
) -> list[int] | None:
    """Record one combat result in the inbox, then drain one batch.

    Those that wait behind it in the broker's queue are recorded along with it. Accepts
    the document as dict or JSON text. What cannot become a history row ends in
    `rejected_payloads`, a message without a document or with more than it and its
    signature too. Any number of deliveries settles once. Returns, for the worker's
    consumer, what was left of the messages that it gave along.
    """
    started = time.monotonic()
    # A list is refused, and kept as it is.
    given: Any = payload
    if more or unknown or not isinstance(signature, str | None):
        given = [payload, *([] if signature is None else [signature]), *more, unknown]
    try:
        rung = _record(given, as_signature(signature))
    except SoftTimeLimitExceeded as error:
        # Acknowledged, a message that nobody has recorded would be gone.
        raise settle_combat.retry(
            exc=error, countdown=RETRY_SECONDS, max_retries=None
        ) from error
    if rung is None:
        return None
    drain.check_connection()
    # First: whether or not this one rang, those behind it are to be recorded.
    taken = taking.take_along(settle_combat, settings.SETTLEMENT_BATCH_SIZE - 1)
    if taken.rung or rung:
        # The drain below answers this ring; others must be free to ring again.
        inbox.silence_doorbell()
    drain_batch(started)
    return taken.left


def _record(given: Any, signature: str) -> bool | None:
    """Record a payload in the inbox; whether the caller is to answer its ring.

    None where PostgreSQL has it: as a pending row, or as a rejected payload.
    """
    try:
        handoff = unchecked(given, settings.SETTLEMENT_MAX_DOCUMENT_BYTES)
    except PayloadInvalid as error:
        keep(settle_combat, partial(_reject, payload=given, error=error))
        return None
    handoff = handoff.signed(signature)
    if not settings.SETTLEMENT_ENGINE_KEYS.verify(handoff.raw, signature):
        # Not by way of Redis: a running fight would end, and its players leave it.
        _receive(handoff)
        return None
    try:
        _, rung = inbox.record(handoff, replicas=settings.SETTLEMENT_SUBMIT_REPLICAS)
    except redis.RedisError:
        logger.warning("not in the inbox, receipt goes to PostgreSQL", exc_info=True)
        # The sweep finds the pending row and puts it into the inbox.
        _receive(handoff)
        return None
    known.keep(handoff)
    return rung


def _receive(handoff: Handoff) -> None:
    delivery = Delivery(
        handoff.session_id,
        handoff.raw,
        handoff.sha256,
        signature=handoff.signature,
    )
    keep(settle_combat, lambda cursor: combat_saver(cursor).receive(delivery))


@shared_task(
    name="settle_inbox",
    acks_late=True,
    ignore_result=True,
    max_retries=3,
    default_retry_delay=1,
)
def settle_inbox() -> None:
    """Drain the inbox in batches for some seconds, then ring for the next drain.

    Whoever is done before waits for what comes, for the rest of these seconds.
    """
    started = time.monotonic()
    drain.check_connection()
    # Before the first claim: a hand-off from now on rings again.
    inbox.silence_doorbell()
    if _drain(started) and settings.SETTLEMENT_LINGER:
        until = started + settings.SETTLEMENT_DRAIN_SECONDS
        lingering.linger(until, partial(_drain, started))


def _drain(started: float) -> bool:
    """Drain until nothing is due; whether it is worthwhile to wait for more."""
    while drain_batch(started):
        if time.monotonic() - started > settings.SETTLEMENT_DRAIN_SECONDS:
            rings.ring()
            return False
    return settlement.mode() is settlement.Mode.RUNNING


@shared_task(
    name="task_sync_state",
    acks_late=True,
    ignore_result=True,
    max_retries=3,
    default_retry_delay=1,
)
def task_sync_state(scope: str, char_id: int) -> None:
    """Save a player's state of that scope: `saver_of(scope)(cursor).save(char_id)`.

    What was asked for stays noted in Redis until it is saved; what cannot be saved is
    parked, and a call that names no scope or no player is kept as it came. Any number
    of deliveries saves once.
    """
    started = time.monotonic()
    try:
        subject = scope_of(str(scope)), _player(char_id)
        saver_of = registry.saver_of(subject[0])
    except ValueError as error:
        refuse_call(task_sync_state, [scope, char_id], "arguments", str(error))
        return
    drain.check_connection()
    saved = saves.save(*subject, saver_of)
    if saved is None:
        return
    if saved.drain:
        drain_batch(started)
    if saved.again:
        # What came since is noted already.
        rings.send_save(*subject)


def _player(char_id: object) -> int:
    """The player that a number or its digits name. Raises ValueError."""
    found = player_id(str(char_id)) if type(char_id) in (int, str) else None
    if found is None:
        raise ValueError(f"{saferepr(char_id, 80)} is no id of a player")
    return found


@shared_task(name="sweep", acks_late=True, ignore_result=True, max_retries=0)
def sweep() -> None:
    """Put what was lost or stuck back through the same doors."""
    drain.check_connection()
    found = CleanupStateSaver().sweep()
    logger.info("sweep", extra=found)
    for kind, number in found.items():
        counts.count(f"{counts.SWEEP}{kind}", number)
    if any(found.values()):
        rings.send_ring()


@shared_task(name="publish_events", acks_late=True, ignore_result=True, max_retries=0)
def publish_events() -> None:
    """Publish the events that wait: what beat and everybody but a drain asks for."""
    drain.check_connection()
    publishing.publish_all(settings.SETTLEMENT_DRAIN_SECONDS)


def drain_batch(started: float) -> bool:
    """Claim and settle one batch; whether another claim is worthwhile."""
    entries, more = settlement.claim(settings.SETTLEMENT_BATCH_SIZE)
    if more:
        # Other pool processes help; whoever comes late finds nothing and leaves.
        rings.ring()
    is_done = drain.settle_entries(entries, started, combat_saver)
    if is_done:
        publishing.after_batch(len(entries), is_last=not more)
    return is_done and bool(entries)


@worker_ready.connect
def look_for_leftovers(**_: object) -> None:
    """Take up, before the first beat, what was left while no worker ran."""
    rings.send_ring()
    rings.send_sweep()


def _reject(cursor: Cursor[Row], payload: object, error: PayloadInvalid) -> None:
    raw = _bytes(payload)
    rejected.keep(cursor, Rejected(None, digest(raw), error.code, error.errors, raw))
    counts.count(f"{counts.COMBAT}{Outcome.REJECTED}")
    logger.error(
        "payload rejected",
        extra={"outcome": Outcome.REJECTED, "code": error.code},
    )


def _bytes(payload: object) -> bytes:
    """The bytes to keep of a payload that no document could be made of."""
    if isinstance(payload, str):
        return payload.encode("utf-8", "surrogatepass")
    return readable(payload)
