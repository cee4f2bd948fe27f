"""Taskiq on Redis streams: an asyncio task a combat, acknowledged when it has run."""

from __future__ import annotations

from collections.abc import Sequence

from taskiq.acks import AcknowledgeType
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from benchmarks.peers import process
from benchmarks.peers.applying import JOBS, AsyncSettler, settler

broker = RedisStreamBroker(process.REDIS_URL)


@broker.task(task_name="settle_combat")
async def settle_combat(payload: str) -> None:
    await _settlers[0].settle(payload)


_settlers: list[AsyncSettler] = []


async def send(raws: Sequence[str]) -> None:
    # Makes the consumer group, which would not see what was sent before it.
    await broker.startup()
    for raw in raws:
        await settle_combat.kiq(raw)
    await broker.shutdown()


async def work() -> None:
    async with settler() as opened:
        _settlers.append(opened)
        await process.wait_for_go()
        await run_receiver_task(
            broker,
            run_startup=True,
            max_async_tasks=JOBS,
            max_prefetch=JOBS,
            ack_time=AcknowledgeType.WHEN_EXECUTED,
        )


if __name__ == "__main__":
    process.main(send, work)
