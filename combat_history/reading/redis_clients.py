"""Redis clients of readers: an answer comes soon or not at all, then PostgreSQL's.

Nothing is retried. A pooled connection that the server has closed is replaced unasked.
"""

from __future__ import annotations

import asyncio
from functools import cache
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from persistence.engine import connecting

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
"""A player looks at a spinner for as long as Redis is frozen."""

# By loop, because connections belong to the one that opened them; weakly, because a
# loop that is gone takes its client along.
_async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = (
    WeakKeyDictionary()
)


def client() -> redis.Redis:
    """The process's own client for synchronous code."""
    return _client(settings.REDIS_URL)


def async_client() -> redis.asyncio.Redis:
    """The running event loop's own client."""
    loop = asyncio.get_running_loop()
    known = _async_clients.get(loop)
    if known is None:
        known = _async_clients[loop] = new_async_client(settings.REDIS_URL)
    return known


def new_async_client(url: str) -> redis.asyncio.Redis:
    """One that the caller closes."""
    return connecting.async_client(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=AsyncRetry(NoBackoff(), 0),
    )


async def aclose() -> None:
    """Close the running event loop's connections; the next use opens new ones."""
    known = _async_clients.pop(asyncio.get_running_loop(), None)
    if known is not None:
        await known.aclose()


@cache
def _client(url: str) -> redis.Redis:
    return connecting.client(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
