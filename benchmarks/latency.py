"""From submit to committed and effects done, at a steady load far below the limit.

Open loop: combats end at random moments (exponential gaps), whether or not the last one
is settled. Each is timed from before it is submitted until its tombstone is in Redis,
which whoever settles it writes after its commit.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
)
from dataclasses import dataclass

from redis.asyncio import Redis

from benchmarks import bare_drainer, books, world
from benchmarks.backlog import Backlog, hide_from_collector
from benchmarks.cpu import Meter, Reading
from benchmarks.figures import Percentiles, percentiles
from benchmarks.processes import Settling, bare_processes, wait_until
from benchmarks.servers import Servers
from benchmarks.variants import producer, settlement_worker
from benchmarks.witness import Witness, watching
from persistence.contract import redis_keys
from persistence.dispatcher import SyncDispatcher

RATE = 50
WARM_UP = 100
"""Combats not counted: connections are made and statements prepared during them."""

SETTLE_SECONDS = 30

Submit = Callable[[bytes], Awaitable[object]]


@dataclass(frozen=True)
class Door:
    """One way in, with who settles what comes through it."""

    name: str
    settling: Callable[[Servers], AbstractContextManager[Settling]]
    opened: Callable[[Servers], AbstractAsyncContextManager[Submit]]


@dataclass(frozen=True)
class Latency:
    """Milliseconds."""

    door: str
    combats: int
    settled: Percentiles
    submitted: Percentiles
    """Until the call returned."""
    usage: Reading
    tries: int = 1


def measure(servers: Servers, door: Door, backlog: Backlog, seed: str) -> Latency:
    world.copy(servers)
    keys = [redis_keys.tombstone(h.session_id) for h in backlog.handoffs]
    with door.settling(servers) as settling, watching(servers) as witness:
        meter = Meter(servers, settling)
        servers.wait_for_autovacuum()
        before = meter.read()
        calls = asyncio.run(_play(servers, door, backlog, seed, witness, keys))
        usage = meter.read() - before
    books.check(servers, backlog)
    counted = list(zip(keys, calls, strict=True))[WARM_UP:]
    return Latency(
        door=door.name,
        combats=len(counted),
        settled=percentiles(witness.seen[key] - began for key, (began, _) in counted),
        submitted=percentiles(ended - began for _, (began, ended) in counted),
        usage=usage,
    )


async def _play(
    servers: Servers,
    door: Door,
    backlog: Backlog,
    seed: str,
    witness: Witness,
    keys: list[str],
) -> list[tuple[float, float]]:
    """Submit all, stay until all is settled; when each call began and ended."""
    hide_from_collector()
    async with door.opened(servers) as submit:
        calls = await _submit_all(submit, backlog, random.Random(seed))
        await asyncio.to_thread(
            wait_until,
            lambda: all(key in witness.seen for key in keys),
            SETTLE_SECONDS,
            f"{door.name}: combats settled at {RATE}/s",
        )
    return calls


async def _submit_all(
    submit: Submit, backlog: Backlog, dice: random.Random
) -> list[tuple[float, float]]:
    due = time.perf_counter()
    running = []
    for raw in backlog.raws:
        due += dice.expovariate(RATE)
        await asyncio.sleep(due - time.perf_counter())
        running.append(asyncio.create_task(_submit(submit, raw)))
    return await asyncio.gather(*running)


async def _submit(submit: Submit, raw: bytes) -> tuple[float, float]:
    began = time.perf_counter()
    await submit(raw)
    return began, time.perf_counter()


@asynccontextmanager
async def _submit_combat(servers: Servers) -> AsyncIterator[Submit]:
    dispatcher = SyncDispatcher(servers.redis_url)
    try:
        yield dispatcher.submit_combat
    finally:
        await dispatcher.aclose()


@asynccontextmanager
async def _send_task(servers: Servers) -> AsyncIterator[Submit]:
    """In a thread, as an asyncio engine has to: the call blocks."""
    with producer(servers) as app:
        yield lambda raw: asyncio.to_thread(
            app.send_task, "settle_combat", args=[raw.decode()]
        )


@asynccontextmanager
async def _push(servers: Servers) -> AsyncIterator[Submit]:
    async with Redis.from_url(servers.redis_url) as client:
        yield lambda raw: client.lpush(bare_drainer.QUEUE, raw)


def _bare_drainers(servers: Servers) -> AbstractContextManager[Settling]:
    return bare_processes("benchmarks.bare_drainer", servers.environment())


INBOX = Door("submit_combat", settlement_worker, _submit_combat)
SEND_TASK = Door("send_task", settlement_worker, _send_task)
BARE = Door("bare blocking drainer", _bare_drainers, _push)
