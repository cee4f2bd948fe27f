"""Procrastinate: an asyncio task a combat, whose queue is a table of PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from procrastinate import App, PsycopgConnector

from benchmarks.peers import process
from benchmarks.peers.applying import JOBS, AsyncSettler, settler

# A connection more for notices of new jobs.
connector = PsycopgConnector(conninfo=process.DATABASE_URL, max_size=JOBS + 1)
app = App(connector=connector)
_settlers: list[AsyncSettler] = []


@app.task(name="settle_combat")
async def settle_combat(payload: str) -> None:
    await _settlers[0].settle(payload)


async def send(raws: Sequence[str]) -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await settle_combat.batch_defer_async(*({"payload": raw} for raw in raws))


async def work() -> None:
    async with settler() as opened, app.open_async():
        _settlers.append(opened)
        await process.wait_for_go()
        await app.run_worker_async(concurrency=JOBS)


if __name__ == "__main__":
    process.main(send, work)
