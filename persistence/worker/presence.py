"""Which workers and beats of all hosts are alive, as each says in Redis.

For /metrics and people; whether one process of this machine is to be restarted its
heartbeat file says, which asks no server.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from functools import cache

import redis

from persistence.contract import redis_keys
from persistence.engine import connecting, scripts
from persistence.worker.heartbeat import KINDS, MAX_AGE_SECONDS

logger = logging.getLogger(__name__)

WITHIN_SECONDS = 0.5
"""The loop that says so takes no messages meanwhile."""

SAY_SECONDS = 15
REMEMBERED_MS = 60 * 60 * 1000


@cache
def _client() -> redis.Redis:
    # Not above: where Django is missing, `combat-settlement` is to say so itself.
    from django.conf import settings

    return connecting.client(
        settings.REDIS_URL,
        socket_timeout=WITHIN_SECONDS,
        socket_connect_timeout=WITHIN_SECONDS,
    )


def say(kind: str) -> None:
    """This process, of one of KINDS, is alive. Redis may be away: then nobody hears."""
    try:
        _client().eval(
            scripts.source("alive"), 1, redis_keys.ALIVE, _own(kind), REMEMBERED_MS
        )
    except (redis.RedisError, OSError):
        logger.debug("not heard", exc_info=True)


def end(kind: str) -> None:
    """This process stops in order: its silence is no alarm."""
    try:
        _client().zrem(redis_keys.ALIVE, _own(kind))
    except (redis.RedisError, OSError):
        logger.debug("not heard", exc_info=True)


def read(client: redis.Redis) -> dict[str, dict[str, float]]:
    """`ages` as of now. Raises RedisError."""
    with client.pipeline(transaction=False) as pipe:
        pipe.zrange(redis_keys.ALIVE, 0, -1, withscores=True)
        pipe.time()
        said, (seconds, microseconds) = pipe.execute()
    return ages(said, seconds * 1000 + microseconds / 1000)


def ages(
    said: Iterable[tuple[bytes, float]], now_ms: float
) -> dict[str, dict[str, float]]:
    """Seconds since each process was heard, by kind, the freshest first.

    `said`: members of ALIVE with their scores, `now_ms`: the clock of Redis.
    """
    found: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for member, at in sorted(said, key=lambda one: -one[1]):
        kind, _, process = member.decode("utf-8", "replace").partition("@")
        if kind in found:
            found[kind][process] = max(0.0, (now_ms - at) / 1000)
    return found


def are_alive(of_kind: dict[str, float]) -> int:
    """How many of these were heard lately enough."""
    return sum(age <= MAX_AGE_SECONDS for age in of_kind.values())


def _own(kind: str) -> str:
    return f"{kind}@{socket.gethostname()}:{os.getpid()}"
