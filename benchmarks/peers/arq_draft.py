"""The draft that this project began as: ARQ, and SQLAlchemy's ORM over asyncpg.

One task a combat opens the session and the transaction and calls a Saver, which records
the history row as pending, changes the rows that it locked, and marks it as processed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker, func
from sqlalchemy import or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.combat import Combat, Json, compressed, effects
from benchmarks.peers import process
from benchmarks.peers.arq_models import (
    Character,
    CombatHistory,
    CombatParticipant,
    CombatReplay,
    InventoryItem,
    ItemTemplate,
    LedgerLine,
)

JOBS = 10
POLL_SECONDS = 0.02
TASK = "settle_combat"


class CombatStateSaver:
    """Works inside a transaction that is already open."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def save(self, combat: Combat) -> None:
        if not await self._is_recorded_first(combat):
            return
        history = await self.session.get_one(CombatHistory, combat.session_id)
        characters = await self._locked_characters(combat)
        templates = await self._templates(combat)
        items = await self._locked_items(combat, templates)
        for char_id, result in combat.participants:
            await self._save_player(
                combat, characters[char_id], result, items, templates
            )
        self.session.add(
            CombatReplay(
                session_id=combat.session_id, data=compressed(combat.fight_log)
            )
        )
        history.settlement_status = "processed"
        history.settled_at = datetime.now(UTC)

    async def _is_recorded_first(self, combat: Combat) -> bool:
        pending = insert(CombatHistory).values(
            session_id=combat.session_id,
            participant_ids=[char_id for char_id, _ in combat.participants],
            finished_at=combat.finished_at,
            settlement_status="pending",
            result_payload=combat.document,
        )
        recorded = pending.on_conflict_do_nothing().returning(CombatHistory.session_id)
        return await self.session.scalar(recorded) is not None

    async def _locked_characters(self, combat: Combat) -> dict[int, Character]:
        rows = await self.session.scalars(
            select(Character)
            .where(Character.id.in_([char_id for char_id, _ in combat.participants]))
            .order_by(Character.id)
            .with_for_update()
        )
        return {row.id: row for row in rows}

    async def _templates(self, combat: Combat) -> dict[str, ItemTemplate]:
        """By id and by name."""
        loot = [entry for entries in combat.loot.values() for entry in entries]
        if not loot:
            return {}
        rows = await self.session.scalars(
            select(ItemTemplate).where(
                or_(
                    ItemTemplate.id.in_([e.get("item_template_id") for e in loot]),
                    ItemTemplate.name.in_([e.get("name") for e in loot]),
                )
            )
        )
        return {key: row for row in rows for key in (row.id, row.name)}

    async def _locked_items(
        self, combat: Combat, templates: dict[str, ItemTemplate]
    ) -> list[InventoryItem]:
        ids: set[int] = set()
        stacks: set[tuple[int, str]] = set()
        for char_id, result in combat.participants:
            changes = result["changes"]
            ids.update(used["inventory_id"] for used in changes["items_consumed"])
            for target in changes["durability_loss"]:
                kind, _, name = target.partition(":")
                if kind == "item":
                    stacks.add((char_id, name))
                else:
                    ids.add(int(name))
            stacks.update(
                (char_id, _named(e, templates).id) for e in combat.loot[char_id]
            )
        owned = tuple_(InventoryItem.character_id, InventoryItem.item_template_id)
        rows = await self.session.scalars(
            select(InventoryItem)
            .where(or_(InventoryItem.id.in_(ids), owned.in_(stacks)))
            .order_by(InventoryItem.id)
            .with_for_update()
        )
        return list(rows)

    async def _save_player(
        self,
        combat: Combat,
        character: Character,
        result: Json,
        items: list[InventoryItem],
        templates: dict[str, ItemTemplate],
    ) -> None:
        changes = result["changes"]
        character.xp += changes["xp_gained"]
        character.gold += changes["gold_gained"]
        this = (combat.finished_at, combat.session_id)
        last = (character.vitals_at, character.vitals_session_id)
        if last[0] is None or this > last:
            character.hp = result["state_snapshot"]["hp"]
            character.energy = result["state_snapshot"]["energy"]
            character.vitals_at, character.vitals_session_id = this
        owned = [item for item in items if item.character_id == character.id]
        moved = [
            *self._consume(changes["items_consumed"], owned),
            *self._wear(changes["durability_loss"], owned),
            *self._grant(combat, character.id, owned, templates),
        ]
        # New rows are given their ids, which the ledger names.
        await self.session.flush()
        for item, _, _ in moved:
            if not item.quantity:
                await self.session.delete(item)
        self.session.add(
            CombatParticipant(
                character_id=character.id,
                finished_at=combat.finished_at,
                session_id=combat.session_id,
            )
        )
        self.session.add(
            LedgerLine(
                session_id=combat.session_id,
                character_id=character.id,
                kind="settlement",
                xp_delta=changes["xp_gained"],
                gold_delta=changes["gold_gained"],
                xp_after=character.xp,
                gold_after=character.gold,
                items=[
                    {
                        "inventory_id": item.id,
                        "item_template_id": item.item_template_id,
                        "kind": kind,
                        "delta": delta,
                        "after": item.quantity,
                    }
                    for item, kind, delta in moved
                ],
            )
        )

    def _consume(
        self, entries: Sequence[Json], owned: Sequence[InventoryItem]
    ) -> Iterator[tuple[InventoryItem, str, int]]:
        by_id = {item.id: item for item in owned}
        for entry in entries:
            item = by_id[entry["inventory_id"]]
            item.quantity -= entry["qty"]
            yield item, "consumed", -entry["qty"]

    def _wear(
        self, losses: dict[str, int], owned: Sequence[InventoryItem]
    ) -> Iterator[tuple[InventoryItem, str, int]]:
        for target, points in losses.items():
            kind, _, name = target.partition(":")
            item = next(
                item
                for item in owned
                if (
                    item.item_template_id == name and item.is_equipped
                    if kind == "item"
                    else item.id == int(name)
                )
            )
            item.durability = max(0, (item.durability or 0) - points)
            yield item, "worn", 0

    def _grant(
        self,
        combat: Combat,
        char_id: int,
        owned: Sequence[InventoryItem],
        templates: dict[str, ItemTemplate],
    ) -> Iterator[tuple[InventoryItem, str, int]]:
        for entry in combat.loot[char_id]:
            template = _named(entry, templates)
            item = next(
                (
                    item
                    for item in owned
                    if item.item_template_id == template.id
                    and not item.is_equipped
                    and item.slot is None
                ),
                None,
            )
            if item is not None and template.stackable:
                item.quantity += entry["qty"]
            else:
                item = InventoryItem(
                    character_id=char_id,
                    item_template_id=template.id,
                    quantity=entry["qty"],
                    durability=template.max_durability,
                    max_durability=template.max_durability,
                    origin_session_id=combat.session_id,
                )
                self.session.add(item)
            yield item, "gained", entry["qty"]


def _named(entry: Json, templates: dict[str, ItemTemplate]) -> ItemTemplate:
    return templates[entry.get("item_template_id") or entry["name"]]


async def settle_combat(ctx: dict[str, Any], payload: str) -> None:
    combat = Combat(orjson.loads(payload))
    async with ctx["session_maker"]() as session, session.begin():
        await CombatStateSaver(session).save(combat)
    redis: ArqRedis = ctx["redis"]
    async with redis.pipeline(transaction=False) as pipe:
        for command in effects([combat]):
            pipe.execute_command(*command)
        await pipe.execute()


async def _connect() -> asyncpg.Connection:
    """asyncpg does not read the form `name=value name=value`."""
    given = dict(part.split("=", 1) for part in shlex.split(process.DATABASE_URL))
    given["database"] = given.pop("dbname")
    return await asyncpg.connect(**given)


async def send(raws: Sequence[str]) -> None:
    pool = await create_pool(RedisSettings.from_dsn(process.REDIS_URL))
    for raw in raws:
        await pool.enqueue_job(TASK, raw)
    await pool.aclose()


async def work() -> None:
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=_connect, pool_size=JOBS, max_overflow=0
    )
    worker = Worker(
        functions=[func(settle_combat, name=TASK, keep_result=0)],
        redis_settings=RedisSettings.from_dsn(process.REDIS_URL),
        max_jobs=JOBS,
        poll_delay=POLL_SECONDS,
        ctx={"session_maker": async_sessionmaker(engine, expire_on_commit=False)},
    )
    await process.wait_for_go()
    await worker.async_run()


if __name__ == "__main__":
    process.main(send, work)
