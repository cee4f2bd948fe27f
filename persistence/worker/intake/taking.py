"""Results that wait in the broker's queue are recorded along with a delivered one.

A Celery task for each combat costs several times what settling it costs, so a delivery
records up to a batch of the plain messages behind it. They are read where they lie and
removed once their hand-off has answered: a worker that dies in between leaves a second
delivery, which is harmless, and no message is ever in a worker's memory alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import redis
from celery import Task, current_app
from celery.utils.nodenames import anon_nodename
from django.conf import settings
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError

from persistence.contract import redis_keys
from persistence.worker import counts, inbox, known
from persistence.worker.intake.events import tell_of
from persistence.worker.intake.plain import Plain, plain

logger = logging.getLogger(__name__)

TAKER_MS = 10_000
"""A taker that died keeps others away no longer; one that is slower is joined by
another one, and both record the same."""


def take_along(task: Task[Any, Any], limit: int) -> bool:
    """Record up to `limit` plain results that wait behind the delivered `task`.

    Returns whether the caller is to answer a ring of theirs. Never raises for a server
    that is away: what was not removed is delivered.
    """
    queue = (task.request.delivery_info or {}).get("routing_key")
    if not queue or limit < 1:
        return False
    try:
        with current_app.connection_or_acquire() as connection:
            if connection.transport.driver_type != "redis":
                return False
            return _take(connection, queue, limit, task)
    except (redis.RedisError, BrokerError, OSError):
        logger.warning("not taken along, Celery delivers them", exc_info=True)
        return False


def _take(connection: Connection, queue: str, limit: int, task: Task[Any, Any]) -> bool:
    # A taker that outlived its time must not end that of the next one.
    token = str(uuid4())
    keys = [queue, redis_keys.taker(queue)]
    # kombu's own client: it knows Sentinel, TLS and credentials of the broker.
    channel: Any = connection.default_channel
    with channel.conn_or_acquire() as client:
        messages: list[bytes] = inbox.script("peek")(
            keys=keys,
            args=[limit, inbox.MAX_CLAIM_BYTES, token, TAKER_MS],
            client=client,
        )
        if not messages:
            return False
        recorded, rung = _record(messages)
        inbox.script("leave")(
            keys=keys, args=[token, *(one.message for one in recorded)], client=client
        )
    counts.count(f"{counts.MESSAGE}taken_along", len(recorded))
    logger.info(
        "taken along",
        extra={"queue": queue, "tasks": ",".join(one.task_id for one in recorded)},
    )
    tell_of(recorded, connection, task.request.hostname or anon_nodename())
    return rung


def _record(messages: Sequence[bytes]) -> tuple[list[Plain], bool]:
    """Those whose hand-off answered, and whether one of them is to ring."""
    max_bytes = settings.SETTLEMENT_MAX_DOCUMENT_BYTES
    read = (plain(message, max_bytes) for message in messages)
    # What no engine has signed is Celery's: it does not go through Redis.
    keys = settings.SETTLEMENT_ENGINE_KEYS
    found = [
        one
        for one in read
        if one is not None and keys.verify(one.handoff.raw, one.handoff.signature)
    ]
    receipts = inbox.record_all(
        [one.handoff for one in found], replicas=settings.SETTLEMENT_SUBMIT_REPLICAS
    )
    recorded = [one for one, receipt in zip(found, receipts, strict=True) if receipt]
    for one in recorded:
        known.keep(one.handoff)
    return recorded, any(receipt and receipt[1] for receipt in receipts)
