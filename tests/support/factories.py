"""Valid input by default; every argument is an override."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from combat_history.models import Character, InventoryItem, ItemTemplate
from persistence.contract.document import Document
from tests.support.ids import new_session_id as new_session_id

HERO = 101
"""The character of the sample."""

POTION, SWORD, PELT = 55, 56, "wolf_pelt"

SAMPLE_END = 1_735_460_000
"""`end_timestamp` of the sample; later fights count up from it."""


def make_participant(**changes: Any) -> Document:
    """A player's part. `changes` fill the diff, but for the keys of the part itself."""
    part: Document = {
        "is_winner": True,
        "state_snapshot": {"hp": 450, "energy": 20},
        "ui_report": {},
    }
    part.update({key: changes.pop(key) for key in list(changes) if key in _PART})
    if part["state_snapshot"] is None:
        del part["state_snapshot"]
    return {**part, "changes": {"xp_gained": 0, "gold_gained": 0, **changes}}


_PART = frozenset({"is_winner", "state_snapshot", "ui_report", "team", "name"})


def make_document(
    participants: dict[str, Any] | None = None,
    *,
    session_id: UUID | str | None = None,
    end_timestamp: int = SAMPLE_END,
    **over: Any,
) -> Document:
    """A fight that character 101 won for 10 XP and 5 gold, unless told otherwise."""
    if participants is None:
        participants = {str(HERO): make_participant(xp_gained=10, gold_gained=5)}
    document: Document = {
        "session_id": str(session_id or new_session_id()),
        "meta": {
            "end_timestamp": end_timestamp,
            "winner_team": "blue",
            "finish_reason": "victory",
        },
        "participants": participants,
    }
    return {**document, **over}


def sample_document(**over: Any) -> Document:
    """The sample under an id of its own; see examples/sample_payload.json."""
    hero = make_participant(
        xp_gained=1250,
        gold_gained=100,
        items_consumed=[
            {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": 2}
        ],
        durability_loss={"item:sword_epic": 5},
        ui_report={
            "damage_dealt": 5000,
            "loot_obtained": [{"name": "Шкура волка", "qty": 1}],
        },
    )
    replay = [{"turn": 1, "actor": "101", "target": "goblin_1", "action": "attack"}]
    return make_document({str(HERO): hero}, **{"replay_log": replay, **over})


def add_template(id_: str, **over: Any) -> ItemTemplate:
    return ItemTemplate.objects.create(**{"id": id_, "name": id_, **over})


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
