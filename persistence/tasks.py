"""The Celery tasks: thin edges over `drain`, `inbox` and the Savers.

A message is a hint that may be lost or repeated; the inbox entry is what counts.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import redis
from celery import Task, shared_task
from celery.exceptions import Reject
from celery.signals import worker_ready
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from kombu.exceptions import OperationalError as BrokerError

from persistence import drain, inbox
from persistence.errors import PayloadInvalid
from persistence.handoff import Handoff, read, unchecked
from persistence.payload import Document, digest
from persistence.protocols import Delivery
from persistence.savers.cleanup_saver import CleanupStateSaver

logger = logging.getLogger(__name__)


class CombatTask(Task[Any, Any]):
    Request = "persistence.requests:ReadableRequest"


@shared_task(
    name="settle_combat",  # contract with the engine's send_task
    base=CombatTask,
    acks_late=True,  # a killed worker means redelivery; the inbox makes it harmless
    ignore_result=True,  # combat_history is the result
    max_retries=3,  # bounds redelivery after a lost worker
    default_retry_delay=1,
)
def settle_combat(payload: Document | str) -> None:
    """Record one combat result in the inbox, then drain one batch.

    Accepts the document as dict or JSON text. What cannot become a history row ends in
    `rejected_payloads`. Any number of deliveries settles once.
    """
    started = time.monotonic()
    drain.check_connection()
    try:
        handoff = _handoff(payload)
    except PayloadInvalid as error:
        _reject(payload, error)
        return
    try:
        inbox.record(handoff)
    except redis.RedisError as error:
        _receive_without_redis(handoff, error)
        return
    drain_batch(started)


@shared_task(
    name="settle_inbox",
    acks_late=True,
    ignore_result=True,
    max_retries=3,
    default_retry_delay=1,
)
def settle_inbox() -> None:
    """Drain the inbox in batches for some seconds, then ring for the next drain."""
    started = time.monotonic()
    drain.check_connection()
    # Before the first claim: a hand-off from now on rings again.
    inbox.silence_doorbell()
    while drain_batch(started):
        if time.monotonic() - started > settings.SETTLEMENT_DRAIN_SECONDS:
            ring()
            return


@shared_task(name="sweep", acks_late=True, ignore_result=True, max_retries=0)
def sweep() -> None:
    """Put what was lost or stuck back through the same doors."""
    drain.check_connection()
    found = CleanupStateSaver().sweep()
    logger.info("sweep", extra=found)
    if any(found.values()):
        ring()


def drain_batch(started: float) -> bool:
    """Claim and settle one batch; whether another claim is worthwhile."""
    entries, more = inbox.claim(settings.SETTLEMENT_BATCH_SIZE)
    if more:
        # Other pool processes help; whoever comes late finds nothing and leaves.
        ring()
    drain.settle_entries(entries, started)
    return bool(entries)


def ring() -> None:
    """Ask for a drain, unless one is asked for already. A lost ring costs a beat."""
    try:
        if inbox.press_doorbell():
            settle_inbox.apply_async()
    except (BrokerError, redis.RedisError):
        logger.warning("ring failed; beat drains the inbox", exc_info=True)


@worker_ready.connect
def look_for_leftovers(**_: object) -> None:
    """What was left while no worker ran is taken up before the first beat."""
    try:
        sweep.apply_async()
        settle_inbox.apply_async()
    except BrokerError:
        logger.warning("not sent; beat sends the next", exc_info=True)


def _handoff(payload: Document | str) -> Handoff:
    document, raw = read(payload)
    return unchecked(document, raw, settings.SETTLEMENT_MAX_DOCUMENT_BYTES)


def _reject(payload: object, error: PayloadInvalid) -> None:
    raw = _bytes(payload)
    with drain.open_saver() as (saver, _):
        saver.reject_unidentified(raw, digest(raw), error.code, error.errors)
    logger.error("payload rejected", extra={"outcome": "rejected", "code": error.code})


def _receive_without_redis(handoff: Handoff, error: redis.RedisError) -> None:
    """The receipt goes straight into PostgreSQL; the sweep finds it there."""
    logger.warning("inbox not reachable", extra={"error": str(error)})
    delivery = Delivery(handoff.session_id, handoff.raw, handoff.sha256)
    try:
        with drain.open_saver() as (saver, _):
            saver.receive(delivery)
    except (DatabaseError, InterfaceError) as failure:
        raise Reject(failure, requeue=True) from failure


def _bytes(payload: object) -> bytes:
    if isinstance(payload, str):
        return payload.encode("utf-8", "surrogatepass")
    text = json.dumps(payload, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")
