"""Rows, valid by default; every argument is an override."""

from __future__ import annotations

from typing import Any

from combat_history.models import (
    BalanceTemplate,
    Character,
    InventoryItem,
    ItemTemplate,
)
from tests.support.documents import HERO, PELT, POTION, SWORD


def add_template(id_: str, **over: Any) -> ItemTemplate:
    return ItemTemplate.objects.create(**{"id": id_, "name": id_, **over})


def add_balance(id_: str, **over: Any) -> BalanceTemplate:
    return BalanceTemplate.objects.create(**{"id": id_, "name": id_, **over})


def add_character(id_: int, **over: Any) -> Character:
    values = {"xp": 0, "gold": 0, "hp": 500, "energy": 100}
    return Character.objects.create(
        **{"id": id_, "name": f"Character {id_}", **values, **over}
    )


def add_item(
    character_id: int, template_id: str, id_: int | None = None, **over: Any
) -> InventoryItem:
    item = InventoryItem.objects.create(
        **{
            "id": id_,
            "character_id": character_id,
            "item_template_id": template_id,
            **over,
        }
    )
    item.refresh_from_db()
    return item


def add_small_world() -> None:
    """What the sample needs: a hero, five potions on the belt, a sword."""
    add_template(
        "hp_pot_small", name="Малое зелье здоровья", name_en="Small health potion"
    )
    add_template(
        "sword_epic",
        name="Эпический меч",
        name_en="Epic sword",
        stackable=False,
        max_durability=100,
    )
    add_template(PELT, name="Шкура волка", name_en="Wolf pelt")
    add_character(HERO, name="Герой")
    add_item(HERO, "hp_pot_small", POTION, quantity=5, is_equipped=True, slot="belt_1")
    add_item(
        HERO,
        "sword_epic",
        SWORD,
        is_equipped=True,
        slot="main_hand",
        durability=100,
        max_durability=100,
    )
