"""A combat applied over asyncio connections, as `transaction` does it over others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psycopg
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from benchmarks.combat import Combat, effects
from benchmarks.peers.process import DATABASE_URL, REDIS_URL
from benchmarks.transaction import Row, settle

JOBS = 10
"""Combats at a time in each process; more gave nothing, fewer leave it idle."""


class AsyncSettler:
    def __init__(self, pool: AsyncConnectionPool[Any], redis: Redis) -> None:
        self._pool = pool
        self._redis = redis

    async def settle(self, raw: str) -> None:
        """Commits, then leaves in Redis what players are answered from."""
        combat = Combat(orjson.loads(raw))
        async with self._pool.connection() as connection:
            await _commit(connection, [combat])
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in effects([combat]):
                pipe.execute_command(*command)
            await pipe.execute()


@asynccontextmanager
async def settler() -> AsyncIterator[AsyncSettler]:
    options = {"autocommit": True, "prepare_threshold": 0}
    async with (
        AsyncConnectionPool(
            DATABASE_URL, min_size=JOBS, max_size=JOBS, kwargs=options, open=False
        ) as pool,
        Redis.from_url(REDIS_URL) as redis,
    ):
        await pool.wait()
        yield AsyncSettler(pool, redis)


async def _commit(
    connection: psycopg.AsyncConnection[Row], combats: Sequence[Combat]
) -> None:
    steps = settle(combats)
    async with connection.pipeline(), connection.transaction():
        queries = next(steps)
        try:
            while True:
                cursors = [
                    await connection.execute(*query, binary=True) for query in queries
                ]
                queries = steps.send([await cursor.fetchall() for cursor in cursors])
        except StopIteration as end:
            for query in end.value:
                await connection.execute(*query)
