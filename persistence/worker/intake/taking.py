"""Results that wait in the broker's queue are recorded along with a delivered one.

A Celery task for each combat costs several times what settling it costs, so a delivery
records up to a batch of the plain messages behind it. Of Redis they are read where they
lie; of RabbitMQ the consumer has given them along (see `gathering`). They are removed
once their hand-off has answered: a worker that dies in between leaves a second
delivery, which is harmless, and no message is ever in a worker's memory alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import redis
from celery import Task, current_app
from celery.utils.nodenames import anon_nodename
from django.conf import settings
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError

from persistence.contract import redis_keys
from persistence.worker import counts, entries, inbox, known
from persistence.worker.intake.events import tell_of
from persistence.worker.intake.plain import Plain, read_body, read_item

logger = logging.getLogger(__name__)

TAKER_MS = 10_000
"""A taker that died keeps others away no longer; one that is slower is joined by
another one, and both record the same."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of it. `rung`: the caller is to answer a ring of theirs."""

    rung: bool = False
    left: list[int] | None = None
    """Of the messages given along the positions of those not recorded; None: all."""


def take_along(task: Task[Any, Any], limit: int) -> Taken:
    """Record up to `limit` plain results that wait behind the delivered `task`.

    Never raises for a server that is away: what was not removed is delivered.
    """
    delivered: dict[str, Any] = {**(task.request.delivery_info or {})}
    queue = delivered.get("routing_key")
    if not queue or limit < 1:
        return Taken()
    try:
        with current_app.connection_or_acquire() as connection:
            if "along" in delivered:
                recorded, taken = _take_given(delivered["along"])
            elif connection.transport.driver_type == "redis":
                recorded, taken = _take_waiting(connection, queue, limit)
            else:
                return Taken()
            if recorded:
                _tell(recorded, queue, connection, task)
            return taken
    except (redis.RedisError, BrokerError, OSError):
        logger.warning("not taken along, Celery delivers them", exc_info=True)
        return Taken()


def _take_given(along: Sequence[tuple[str, str]]) -> tuple[list[Plain], Taken]:
    max_bytes = settings.SETTLEMENT_MAX_DOCUMENT_BYTES
    recorded, rung = _record(read_body(*call, max_bytes) for call in along)
    left = [number for number in range(len(along)) if number not in recorded]
    return list(recorded.values()), Taken(rung, left)


def _take_waiting(
    connection: Connection, queue: str, limit: int
) -> tuple[list[Plain], Taken]:
    # A taker that outlived its time must not end that of the next one.
    token = str(uuid4())
    keys = [queue, redis_keys.taker(queue)]
    # kombu's own client: it knows Sentinel, TLS and credentials of the broker.
    channel: Any = connection.default_channel
    with channel.conn_or_acquire() as client:
        items: list[bytes] = inbox.script("peek")(
            keys=keys,
            args=[limit, entries.MAX_CLAIM_BYTES, token, TAKER_MS],
            client=client,
        )
        if not items:
            return [], Taken()
        max_bytes = settings.SETTLEMENT_MAX_DOCUMENT_BYTES
        recorded, rung = _record(read_item(item, max_bytes) for item in items)
        inbox.script("leave")(
            keys=keys, args=[token, *(items[n] for n in recorded)], client=client
        )
    return list(recorded.values()), Taken(rung)


def _record(read: Iterable[Plain | None]) -> tuple[dict[int, Plain], bool]:
    """By position those whose hand-off answered, and whether one of them is to ring."""
    # What no engine has signed is Celery's: it does not go through Redis.
    keys = settings.SETTLEMENT_ENGINE_KEYS
    found = [
        (number, one)
        for number, one in enumerate(read)
        if one is not None and keys.verify(one.handoff.raw, one.handoff.signature)
    ]
    receipts = inbox.record_all(
        [one.handoff for _, one in found], replicas=settings.SETTLEMENT_SUBMIT_REPLICAS
    )
    recorded = {
        number: one
        for (number, one), receipt in zip(found, receipts, strict=True)
        if receipt
    }
    for one in recorded.values():
        known.keep(one.handoff)
    return recorded, any(receipt and receipt[1] for receipt in receipts)


def _tell(
    taken: Sequence[Plain], queue: str, connection: Connection, task: Task[Any, Any]
) -> None:
    counts.count(f"{counts.MESSAGE}taken_along", len(taken))
    logger.info(
        "taken along",
        extra={"queue": queue, "tasks": ",".join(one.task_id for one in taken)},
    )
    tell_of(taken, connection, task.request.hostname or anon_nodename())
