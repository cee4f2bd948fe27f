"""What the tables and Redis hold of the adventurers, and of nobody else."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import reduce

from django.db.models import Q

from combat_history.models import Character, InventoryItem, ParkedOperation
from demo.bag import Bag, Row
from demo.fates import Fate
from demo.world import ADVENTURER_IDS
from persistence.contract import redis_keys
from persistence.protocols import GameMode
from persistence.worker import inbox


def read_fates() -> dict[int, Fate]:
    """Every adventurer as PostgreSQL knows it now."""
    bags: dict[int, Bag] = {char_id: Bag() for char_id in ADVENTURER_IDS}
    for item in _items():
        row = Row(
            item.id, item.item_template_id, item.quantity, item.slot, item.durability
        )
        bags[item.character_id].rows.append(row)
    return {
        character.id: Fate(
            xp=character.xp,
            gold=character.gold,
            hp=character.hp,
            energy=character.energy,
            location=character.location,
            state=character.state,
            vitals_at=_milliseconds(character),
            bag=bags[character.id],
        )
        for character in Character.objects.filter(id__in=ADVENTURER_IDS).order_by("id")
    }


def suspected_rows() -> dict[int, set[int]]:
    """Inventory ids that parked operations name, by who wanted something of them."""
    rows: dict[int, set[int]] = {char_id: set() for char_id in ADVENTURER_IDS}
    parked = ParkedOperation.objects.filter(
        character_id__in=ADVENTURER_IDS, resolved_at=None
    )
    for char_id, operation in parked.values_list("character_id", "operation"):
        named = operation.get("inventory_id") if isinstance(operation, dict) else None
        if isinstance(named, int):
            rows[char_id].add(named)
    return rows


def reserved_items() -> int:
    """Belt items of adventurers that a fight still holds."""
    return sum(item.reserved_session_id is not None for item in _items())


def busy_accounts() -> list[str]:
    """Accounts in Redis that say of a fight, or of a session not closed yet."""
    fields = [
        redis_keys.session_field(GameMode.COMBAT),
        redis_keys.closing_field(GameMode.INVENTORY),
        redis_keys.closing_field(GameMode.SCENARIO),
    ]
    client = inbox.client()
    found = []
    for char_id in ADVENTURER_IDS:
        values = client.hmget(redis_keys.account(char_id), fields)
        found += [
            f"character {char_id}: {field} is {value!r}"
            for field, value in zip(fields, values, strict=True)
            if value
        ]
    return found


def intents_left() -> list[str]:
    """What adventurers asked for and nobody has saved."""
    members = inbox.client().zscan_iter(redis_keys.INTENTS)
    return sorted(member.decode() for member, _ in members)


def operations_of(names: Iterable[tuple[int, str]]) -> Q:
    """Parked operations of these characters and names."""
    wanted = [Q(character_id=char_id, op_id=op_id) for char_id, op_id in names]
    return reduce(operator.or_, wanted, Q(pk__in=[]))


def _items() -> list[InventoryItem]:
    return list(
        InventoryItem.objects.filter(character_id__in=ADVENTURER_IDS).order_by("id")
    )


def _milliseconds(character: Character) -> int:
    at = character.vitals_at
    return 0 if at is None else round(at.timestamp() * 1000)
