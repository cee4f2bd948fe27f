"""Rows, valid by default; every argument is an override."""

from __future__ import annotations

from typing import Any

from django.db import connection

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


SMALL_WORLD = f"""
INSERT INTO item_templates (id, name, name_en, stackable, max_durability) VALUES
    ('hp_pot_small', 'Малое зелье здоровья', 'Small health potion', true, NULL),
    ('sword_epic', 'Эпический меч', 'Epic sword', false, 100),
    ('{PELT}', 'Шкура волка', 'Wolf pelt', true, NULL);
INSERT INTO characters (id, name, hp) VALUES ({HERO}, 'Герой', 500);
INSERT INTO inventory (id, character_id, item_template_id, quantity, is_equipped,
                       slot, durability, max_durability) VALUES
    ({POTION}, {HERO}, 'hp_pot_small', 5, true, 'belt_1', NULL, NULL),
    ({SWORD}, {HERO}, 'sword_epic', 1, true, 'main_hand', 100, 100)
"""
"""As text: in models it took a tenth of most tests."""


def add_small_world() -> None:
    """What the sample needs: a hero, five potions on the belt, a sword."""
    with connection.cursor() as cursor:
        cursor.execute(SMALL_WORLD)
