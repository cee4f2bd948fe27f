"""The naive settlement: one Celery task per combat, row by row through the ORM.

What a first version usually looks like: Celery's defaults, `select_for_update`, changed
rows saved one at a time, and Celery's Django fix-up closing the connection around every
task. It is safe against redelivery and writes the same rows as the project does.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from benchmarks.naive import TASK, app
from combat_history.models import (
    Character,
    CombatHistory,
    CombatParticipant,
    CombatReplay,
    InventoryItem,
    ItemTemplate,
    LedgerLine,
)
from persistence.contract.fight_log import pack

Json = dict[str, Any]

client = redis.Redis.from_url(settings.REDIS_URL)


@app.task(name=TASK)
def settle(payload: str) -> None:
    document = json.loads(payload)
    fight_log = document.pop("replay_log")
    with transaction.atomic():
        if not _settle(document, fight_log):
            return
    session_id = document["session_id"]
    client.set(f"combat:result_cache:{session_id}", _brief(document), ex=24 * 3600)
    client.delete(f"cs:{session_id}")


def _settle(document: Json, fight_log: list[Json]) -> bool:
    """Whether this delivery is the one that settled the combat."""
    players = {int(key): result for key, result in document["participants"].items()}
    finished_at = datetime.fromtimestamp(document["meta"]["end_timestamp"], UTC)
    CombatHistory.objects.get_or_create(
        session_id=document["session_id"],
        defaults={
            "participant_ids": sorted(players),
            "finished_at": finished_at,
            "settlement_status": "pending",
            "result_payload": document,
        },
    )
    history = CombatHistory.objects.select_for_update().get(pk=document["session_id"])
    if history.settlement_status != "pending":
        return False
    for char_id in sorted(players):
        _settle_player(history, char_id, players[char_id])
    CombatReplay.objects.create(session_id=history.session_id, data=pack(fight_log))
    history.settlement_status = "processed"
    history.settled_at = timezone.now()
    history.save()
    return True


def _settle_player(history: CombatHistory, char_id: int, result: Json) -> None:
    changes = result["changes"]
    character = Character.objects.select_for_update().get(pk=char_id)
    character.xp += changes["xp_gained"]
    character.gold += changes["gold_gained"]
    this = (history.finished_at, history.session_id)
    last = (character.vitals_at, character.vitals_session_id)
    if last[0] is None or this > last:
        character.hp = result["state_snapshot"]["hp"]
        character.energy = result["state_snapshot"]["energy"]
        character.vitals_at, character.vitals_session_id = this
    character.save()
    movements = [
        *_consume(changes["items_consumed"]),
        *_wear(char_id, changes["durability_loss"]),
        *_grant(history, char_id, result),
    ]
    CombatParticipant.objects.create(
        character_id=char_id,
        finished_at=history.finished_at,
        session_id=history.session_id,
    )
    LedgerLine.objects.create(
        session_id=history.session_id,
        character_id=char_id,
        kind="settlement",
        xp_delta=changes["xp_gained"],
        gold_delta=changes["gold_gained"],
        xp_after=character.xp,
        gold_after=character.gold,
        items=movements,
    )


def _consume(entries: list[Json]) -> list[Json]:
    movements = []
    for entry in entries:
        item = InventoryItem.objects.select_for_update().get(pk=entry["inventory_id"])
        item.quantity -= entry["qty"]
        movements.append(_movement(item, "consumed", -entry["qty"]))
        if item.quantity:
            item.save()
        else:
            item.delete()
    return movements


def _wear(char_id: int, losses: dict[str, int]) -> list[Json]:
    movements = []
    for target, points in losses.items():
        kind, _, name = target.partition(":")
        items = InventoryItem.objects.select_for_update()
        if kind == "item":
            worn = items.filter(
                character_id=char_id, item_template_id=name, is_equipped=True
            )
            item = worn.order_by("id")[0]
        else:
            item = items.get(pk=int(name))
        item.durability = max(0, (item.durability or 0) - points)
        item.save()
        movements.append(_movement(item, "worn", 0))
    return movements


def _grant(history: CombatHistory, char_id: int, result: Json) -> list[Json]:
    movements = []
    for loot in _loot(result):
        if "item_template_id" in loot:
            template = ItemTemplate.objects.get(pk=loot["item_template_id"])
        else:
            template = ItemTemplate.objects.get(name=loot["name"])
        item = (
            InventoryItem.objects.select_for_update()
            .filter(
                character_id=char_id,
                item_template=template,
                is_equipped=False,
                slot__isnull=True,
            )
            .order_by("id")
            .first()
        )
        if item is not None and template.stackable:
            item.quantity += loot["qty"]
            item.save()
        else:
            item = InventoryItem.objects.create(
                character_id=char_id,
                item_template=template,
                quantity=loot["qty"],
                durability=template.max_durability,
                max_durability=template.max_durability,
                origin_session_id=history.session_id,
            )
        movements.append(_movement(item, "gained", loot["qty"]))
    return movements


def _loot(result: Json) -> list[Json]:
    gained: list[Json] | None = result["changes"].get("items_gained")
    return result["ui_report"]["loot_obtained"] if gained is None else gained


def _movement(item: InventoryItem, kind: str, delta: int) -> Json:
    return {
        "inventory_id": item.pk,
        "item_template_id": item.item_template_id,
        "kind": kind,
        "delta": delta,
        "after": item.quantity,
    }


def _brief(document: Json) -> str:
    return json.dumps(
        {
            "finish_reason": document["meta"]["finish_reason"],
            "participants": {
                key: {
                    "is_winner": result["is_winner"],
                    "xp": result["changes"]["xp_gained"],
                    "gold": result["changes"]["gold_gained"],
                    "loot": _loot(result),
                }
                for key, result in document["participants"].items()
            },
        }
    )
