"""Live combats as an engine of any language keeps them, and who holds which belt."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import redis

from combat_history.models import CombatHistory, InventoryItem
from persistence.belts.reservations import Assembly
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.tasks import settle_combat
from tests.support.documents import HERO, POTION, make_document, make_participant
from tests.support.factories import add_character, add_item

CONTAINER: Document = {
    "team": "blue",
    "hp": 100,
    "energy": 50,
    "belt_items": [],
    "consumed": [],
}


def begin(client: redis.Redis, session_id: UUID, *char_ids: int, **over: Any) -> str:
    """Write `cs:` of an active combat; returns its key."""
    key = redis_keys.session(session_id)
    client.hset(key, "status", "active")
    client.hset(key, "participants", json.dumps(char_ids))
    for char_id in char_ids:
        client.hset(key, f"actor:{char_id}", json.dumps({**CONTAINER, **over}))
    return key


def container(client: redis.Redis, session_id: UUID, char_id: int) -> dict[str, Any]:
    text = client.hget(redis_keys.session(session_id), f"actor:{char_id}")
    assert text is not None
    found: dict[str, Any] = json.loads(text)
    return found


def is_ready(client: redis.Redis, session_id: UUID) -> bool:
    """Whether somebody who waits for the belts would be woken."""
    key = redis_keys.belts_ready(session_id)
    return client.llen(key) > 0 and 0 < client.ttl(key) <= 60


def ids_on_belt(assembly: Assembly, char_id: int = HERO) -> list[int]:
    return [item.inventory_id for item in assembly.belts[char_id]]


def result_of(session_id: UUID, used: int = 0) -> Document:
    """The hero has used as many potions."""
    entry = {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": used}
    part = make_participant(items_consumed=[entry] if used else [])
    return make_document({str(HERO): part}, session_id=session_id)


def fail(session_id: UUID) -> None:
    """Settle it with loot that nobody has heard of."""
    loot = [{"item_template_id": "unheard_of", "qty": 1}]
    part = make_participant(items_gained=loot)
    settle_combat(make_document({str(HERO): part}, session_id=session_id))
    assert CombatHistory.objects.get(pk=session_id).settlement_status == "failed"


def holders() -> dict[int, UUID]:
    """Who holds what, by inventory id."""
    rows = InventoryItem.objects.filter(reserved_session_id__isnull=False)
    return {row.pk: row.reserved_session_id for row in rows if row.reserved_session_id}


def add_fighter(char_id: int, *, items: int = 1, quantity: int = 5) -> list[int]:
    """A character with potions on the belt; their inventory ids, by slot."""
    add_character(char_id)
    return [
        add_item(
            char_id,
            "hp_pot_small",
            char_id * 10 + n,
            quantity=quantity,
            is_equipped=True,
            slot=f"belt_{n}",
        ).pk
        for n in range(1, items + 1)
    ]
