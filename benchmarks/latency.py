"""From submit to committed and effects done, at a steady load far below the limit.

Open loop: combats end at random moments (exponential gaps), whether or not the last one
is settled. Each is timed from before `submit_combat` until its tombstone is in Redis,
which the worker writes after its commit.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import books, world
from benchmarks.backlog import Backlog, hide_from_collector
from benchmarks.figures import Percentiles, percentiles
from benchmarks.processes import wait_until
from benchmarks.servers import Servers
from benchmarks.variants import settlement_worker
from benchmarks.witness import Witness, watching
from persistence.contract import redis_keys
from persistence.dispatcher import SyncDispatcher

RATE = 50
WARM_UP = 100
"""Combats not counted: connections are made and statements prepared during them."""

SETTLE_SECONDS = 30


@dataclass(frozen=True)
class Latency:
    """Milliseconds."""

    combats: int
    settled: Percentiles
    submitted: Percentiles
    """Until `submit_combat` returned."""


def measure(servers: Servers, backlog: Backlog, seed: str) -> Latency:
    world.copy(servers)
    keys = [redis_keys.tombstone(h.session_id) for h in backlog.handoffs]
    with settlement_worker(servers), watching(servers) as witness:
        calls = asyncio.run(_play(servers, backlog, seed, _all_seen(witness, keys)))
    books.check(servers, backlog)
    counted = list(zip(keys, calls, strict=True))[WARM_UP:]
    return Latency(
        combats=len(counted),
        settled=percentiles(witness.seen[key] - began for key, (began, _) in counted),
        submitted=percentiles(ended - began for _, (began, ended) in counted),
    )


def _all_seen(witness: Witness, keys: list[str]) -> Callable[[], bool]:
    return lambda: all(key in witness.seen for key in keys)


async def _play(
    servers: Servers, backlog: Backlog, seed: str, settled: Callable[[], bool]
) -> list[tuple[float, float]]:
    """Submit all, stay until all is settled; when each call began and ended."""
    hide_from_collector()
    dispatcher = SyncDispatcher(servers.redis_url)
    try:
        calls = await _submit_all(dispatcher, backlog, random.Random(seed))
        await asyncio.to_thread(
            wait_until, settled, SETTLE_SECONDS, f"combats settled at {RATE}/s"
        )
    finally:
        await dispatcher.aclose()
    return calls


async def _submit_all(
    dispatcher: SyncDispatcher, backlog: Backlog, dice: random.Random
) -> list[tuple[float, float]]:
    due = time.perf_counter()
    running = []
    for raw in backlog.raws:
        due += dice.expovariate(RATE)
        await asyncio.sleep(due - time.perf_counter())
        running.append(asyncio.create_task(_submit(dispatcher, raw)))
    return await asyncio.gather(*running)


async def _submit(dispatcher: SyncDispatcher, raw: bytes) -> tuple[float, float]:
    began = time.perf_counter()
    await dispatcher.submit_combat(raw)
    return began, time.perf_counter()
