"""What is still on its way through inbox, broker and pending rows."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import cast
from uuid import UUID

import redis
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import QuerySet
from kombu.transport.redis import Channel

from combat_history.models import CombatHistory, Status
from persistence.contract import redis_keys
from persistence.protocols import QUEUES
from persistence.worker import inbox
from settlement_project import celery_app

logger = logging.getLogger(__name__)

_UNACKNOWLEDGED = "unacked"
"""Where kombu keeps what a worker has taken and not acknowledged."""


def size() -> int:
    """All that is not finished; 1 if it cannot tell."""
    return sum(parts().values())


def lines() -> list[str]:
    """All that is not finished, in words."""
    return [f"{count} {what}" for what, count in parts().items() if count]


def parts() -> dict[str, int]:
    """How much of what is not finished."""
    try:
        return {**_waiting(), "pending rows": _pending().count()}
    except (OperationalError, InterfaceError):
        connection.close()
    except redis.RedisError:
        logger.info("Redis does not answer")
    return {"server that does not answer": 1}


def make_due() -> None:
    """Give back at once what a killed run had taken, instead of after its lease.

    Harmless while another worker holds some of it: to settle twice applies once.
    """
    waiting = set(_pending().values_list("session_id", flat=True))
    for member, _ in inbox.client().zscan_iter(redis_keys.INBOX):
        # What is no session id is left to the worker, which throws it out.
        with suppress(ValueError):
            waiting.add(UUID(member.decode()))
    inbox.put(sorted(waiting), override=True)
    return_messages()


def return_messages() -> None:
    """Put unacknowledged messages of dead workers back into their queues."""
    with (
        celery_app.connection_for_write(
            transport_options={"visibility_timeout": 0}
        ) as connection,
        connection.channel() as channel,
    ):
        # Redis is the only broker of the contract; the stubs know the base class.
        cast("Channel", channel).qos.restore_visible(num=10_000)


def _waiting() -> dict[str, int]:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        lengths = [broker.llen(queue) for queue in QUEUES]
        lengths.append(broker.hlen(_UNACKNOWLEDGED))
    client = inbox.client()
    # A drain that waits holds the message it was rung by, and has nothing to do.
    lingering = int(client.exists(redis_keys.LINGERER))
    return {
        "messages": max(0, sum(map(int, lengths)) - lingering),
        "inbox entries": int(client.zcard(redis_keys.INBOX)),
        "saves that are owed": int(client.zcard(redis_keys.INTENTS)),
        # Those of a dead engine are ended by the sweep.
        "fights that go on": int(client.zcard(redis_keys.ACTIVE)),
    }


def _pending() -> QuerySet[CombatHistory]:
    return CombatHistory.objects.filter(settlement_status=Status.PENDING)
