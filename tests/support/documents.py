"""Documents and operations, valid by default; every argument is an override."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from persistence.contract.document import Document
from tests.support.ids import new_session_id

HERO = 101
"""The character of the sample."""

POTION, SWORD, PELT = 55, 56, "wolf_pelt"

SAMPLE_END = 1_735_460_000
"""`end_timestamp` of the sample; later fights count up from it."""


def make_participant(*, hp: Any = 450, energy: Any = 20, **changes: Any) -> Document:
    """A player's part. `changes` fill the diff, but for the keys of the part itself."""
    part: Document = {
        "is_winner": True,
        "state_snapshot": {"hp": hp, "energy": energy},
        "ui_report": {},
    }
    part.update({key: changes.pop(key) for key in list(changes) if key in _PART})
    if part["state_snapshot"] is None:
        del part["state_snapshot"]
    return {**part, "changes": {"xp_gained": 0, "gold_gained": 0, **changes}}


_PART = frozenset({"is_winner", "state_snapshot", "ui_report", "team", "name"})


def make_document(
    participants: Mapping[Any, Any] | None = None,
    *,
    session_id: UUID | str | None = None,
    end_timestamp: int = SAMPLE_END,
    **over: Any,
) -> Document:
    """A fight that character 101 won for 10 XP and 5 gold, unless told otherwise."""
    if participants is None:
        participants = {HERO: make_participant(xp_gained=10, gold_gained=5)}
    document: Document = {
        "session_id": str(session_id or new_session_id()),
        "meta": {
            "end_timestamp": end_timestamp,
            "winner_team": "blue",
            "finish_reason": "victory",
        },
        "participants": {str(key): part for key, part in participants.items()},
    }
    return {**document, **over}


def hero_fight(
    *,
    session_id: UUID | str | None = None,
    end_timestamp: int = SAMPLE_END,
    **part: Any,
) -> Document:
    """A fight of character 101 alone, who gains what `make_participant` is told."""
    return make_document(
        {HERO: make_participant(**part)},
        session_id=session_id,
        end_timestamp=end_timestamp,
    )


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
    return make_document({HERO: hero}, **{"replay_log": replay, **over})


def op(op_id: object, kind: str, /, **rest: Any) -> Document:
    """An inventory operation as the engine queues it."""
    return {"op_id": op_id, "op": kind, **rest}
