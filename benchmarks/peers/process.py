"""A peer that is not Celery, as a program: it sends documents, or settles them.

`python -m benchmarks.peers.NAME send` queues the documents of its standard input, one a
line; without an argument it says `ready`, waits for one element of the list GO as the
ceiling does, and settles until it is ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from redis.asyncio import Redis

from benchmarks.go import GO, WAIT_SECONDS

DATABASE_URL = os.environ.get("DATABASE_URL", "")
REDIS_URL = os.environ.get("REDIS_URL", "")


def main(
    send: Callable[[Sequence[str]], Coroutine[Any, Any, None]],
    work: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    if sys.argv[1:] == ["send"]:
        asyncio.run(send(sys.stdin.read().splitlines()))
    else:
        asyncio.run(work())


async def wait_for_go() -> None:
    """To be called by `work` once its connections are made."""
    print("ready", flush=True)
    async with Redis.from_url(REDIS_URL, socket_timeout=None) as client:
        await client.blpop([GO], timeout=WAIT_SECONDS)
