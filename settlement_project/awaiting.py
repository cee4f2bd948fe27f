"""Lets a worker that starts beside its servers wait for them before they are checked.

A server that says it is coming (Redis reads its file, PostgreSQL recovers) is waited
for as long as it says so; one that does not answer, or is not yet the primary, for
SETTLEMENT_START_WAIT_SECONDS. What is wrong for good is left to the checks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import redis
from django.conf import settings
from psycopg import pq
from psycopg.conninfo import make_conninfo
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    ResponseError,
)
from redis.retry import Retry

from persistence.engine import connecting

logger = logging.getLogger(__name__)

ASK_EVERY_SECONDS = 0.5
ANSWER_WITHIN_SECONDS = 5

State = tuple[str, bool]
"""(what keeps it from serving, '' = nothing that would pass; whether it says so)."""

SERVES = ("", False)


def wait_for_servers() -> None:
    for name, ask in (("Redis", _redis), ("PostgreSQL", _postgres)):
        _wait_for(name, ask)


def _wait_for(name: str, ask: Callable[[], State]) -> None:
    silent_until = time.monotonic() + settings.SETTLEMENT_START_WAIT_SECONDS
    told = ""
    while True:
        reason, is_coming = ask()
        if not reason or not (is_coming or time.monotonic() < silent_until):
            return
        if reason != told:
            logger.warning("waiting for %s: %s", name, reason)
            told = reason
        time.sleep(ASK_EVERY_SECONDS)


def _redis() -> State:
    try:
        with connecting.client(
            settings.REDIS_URL,
            socket_timeout=ANSWER_WITHIN_SECONDS,
            socket_connect_timeout=ANSWER_WITHIN_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            info = client.info()
    except (BusyLoadingError, MasterDownError) as error:
        return f"{error}", True
    except AuthenticationError:
        # It answers; what is wrong does not pass, and the checks say it.
        return SERVES
    except (redis.ConnectionError, redis.TimeoutError):
        return "it does not answer", False
    except ResponseError as error:
        return (f"{error}", True) if f"{error}".startswith("BUSY") else SERVES
    except redis.RedisError:
        return SERVES
    if info.get("loading"):
        return "it reads its file", True
    # A fail-over may be under way: the promotion is waited for, though not for ever.
    if info.get("role") == "slave":
        return "it is a replica", False
    return SERVES


def _postgres() -> State:
    conninfo = make_conninfo(
        settings.DATABASE_URL, connect_timeout=ANSWER_WITHIN_SECONDS
    )
    # A ping needs no login, and tells a server that recovers from one that is away.
    match pq.PGconn.ping(conninfo.encode()):
        case pq.Ping.REJECT:
            return "it accepts no connections yet", True
        case pq.Ping.NO_RESPONSE:
            return "it does not answer", False
    return SERVES
