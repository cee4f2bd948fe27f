"""Valid documents, rows and combats for unit tests; each test names what it changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from persistence.contract.document import Document
from persistence.contract.errors import PayloadInvalid
from persistence.contract.payload import validate
from persistence.savers.combat.plan import plan_batch
from persistence.savers.combat.rows import (
    BalanceKey,
    BalanceRow,
    Catalogue,
    CharacterRow,
    Combat,
    ItemRow,
    Plan,
    Template,
    World,
)
from tests.support.documents import SAMPLE_END, make_document, make_participant

ROOT = Path(__file__).resolve().parents[2]
EPOCH_SECONDS = SAMPLE_END
FIRST_NEW_ID = 1000
"""Inventory ids of rows a plan inserts start here, above all rows of a test's world."""

POTION = Template("hp_pot_small", "Малое зелье", "Small potion", True, None)
HIDE = Template("wolf_hide", "Шкура волка", "Wolf hide", True, None)
SWORD = Template("sword_epic", "Меч", "Epic sword", False, 80)
RING = Template("ring_bone", "Кольцо", "", False, None)
CATALOGUE = (POTION, HIDE, SWORD, RING)


def sample() -> Document:
    text = (ROOT / "examples" / "sample_payload.json").read_text(encoding="utf-8")
    document: Document = json.loads(text)
    return document


def sample_with(path: str, value: object) -> Document:
    """The sample with `value` at a dotted path; missing objects on the way are made."""
    document = sample()
    *parents, last = path.split(".")
    node: Any = document
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    node[last] = value
    return document


def sample_without(path: str) -> Document:
    document = sample()
    *parents, last = path.split(".")
    node: Any = document
    for key in parents:
        node = node[key]
    del node[last]
    return document


def refusal(document: object) -> PayloadInvalid:
    """The error `validate` answers a document with."""
    with pytest.raises(PayloadInvalid) as caught:
        validate(document)  # type: ignore[arg-type]  # documents break the contract here
    return caught.value


def paths(error: PayloadInvalid) -> list[str]:
    return [fault["path"] for fault in error.errors]


def session(number: int) -> UUID:
    """Session ids in the order of their numbers."""
    return UUID(int=number)


def at(seconds: int) -> datetime:
    """The finish of a combat that many seconds after the tests' epoch."""
    return datetime.fromtimestamp(EPOCH_SECONDS + seconds, UTC)


def participant(**parts: Any) -> Document:
    """A player's part without vitals; `loot_obtained` as its report has it."""
    if "loot_obtained" in parts:
        parts["ui_report"] = {"loot_obtained": parts.pop("loot_obtained")}
    return make_participant(**{"state_snapshot": None, **parts})


def combat(
    number: int, participants: dict[int | str, Document], *, seconds: int = 0
) -> Combat:
    payload = validate(
        make_document(
            participants,
            session_id=session(number),
            end_timestamp=EPOCH_SECONDS + seconds,
        )
    )
    return Combat(payload.session_id, payload.finished_at, payload)


def solo(number: int = 1, char_id: int = 101, *, seconds: int = 0, **parts: Any) -> Any:
    """A combat of one player."""
    return combat(number, {char_id: participant(**parts)}, seconds=seconds)


def character(char_id: int = 101, **over: Any) -> CharacterRow:
    row = CharacterRow(
        id=char_id,
        xp=500,
        gold=50,
        hp=100,
        energy=100,
        vitals_at=None,
        vitals_session_id=None,
    )
    return replace(row, **over)


def item(row_id: int, template: Template = POTION, **over: Any) -> ItemRow:
    row = ItemRow(
        id=row_id,
        character_id=101,
        item_template_id=template.id,
        quantity=5,
        is_equipped=False,
        slot=None,
        durability=template.max_durability,
        max_durability=template.max_durability,
        origin_session_id=None,
        opening_quantity=5,
    )
    return replace(row, **over)


def world(
    items: Iterable[ItemRow] = (),
    characters: Iterable[CharacterRow] | None = None,
    balances: Mapping[BalanceKey, BalanceRow] | None = None,
) -> World:
    """A world of these rows; by default of the one character 101."""
    people = [character()] if characters is None else characters
    return World(people, items, balances)


def plan(
    combats: Combat | Iterable[Combat],
    start: World,
    *,
    fail_on_shortage: bool = False,
) -> Plan:
    return plan_batch(
        [combats] if isinstance(combats, Combat) else combats,
        start,
        Catalogue(CATALOGUE),
        count(FIRST_NEW_ID),
        fail_on_shortage=fail_on_shortage,
    )
