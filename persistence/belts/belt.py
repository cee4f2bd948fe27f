"""What a fight may use of its players' items, and the text of a container with it.

Pure: for the workers, whose rows are PostgreSQL's, and for the tests of an engine.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from persistence.contract import redis_keys
from persistence.contract.changes import MAX_QUANTITY, ConsumedItem
from persistence.contract.payload import BeltItem

logger = logging.getLogger(__name__)

_SLOT = re.compile(r"belt_([1-9][0-9]*)")

_USES = TypeAdapter(list[ConsumedItem])


@dataclass(frozen=True, slots=True)
class Held:
    """A belt item that another combat has reserved and may still use."""

    inventory_id: int
    character_id: int
    session_id: UUID


@dataclass(frozen=True, slots=True)
class Item:
    """An equipped row. `is_left`: the fight that reserved it will not use it again."""

    id: int
    character_id: int
    item_template_id: str
    slot: str
    quantity: int
    properties: dict[str, Any] | None
    reserved_session_id: UUID | None
    is_left: bool

    def on_belt(self) -> BeltItem:
        return BeltItem(
            inventory_id=self.id,
            item_template_id=self.item_template_id,
            slot=self.slot,
            quantity=min(self.quantity, MAX_QUANTITY),
            properties=self.properties,
        )


def slot_number(slot: str | None) -> int | None:
    """The place of a slot on the belt: belt_1, belt_2, …; None for any other."""
    found = _SLOT.fullmatch(slot or "")
    return int(found[1]) if found else None


def sorted_out(
    session_id: UUID, items: Iterable[Item]
) -> tuple[dict[int, list[BeltItem]], list[Held], list[int]]:
    """The belts by character, in the order of their slots; what other fights hold; and
    the rows that this one has not reserved yet."""
    belts: defaultdict[int, list[BeltItem]] = defaultdict(list)
    held: list[Held] = []
    fresh: list[int] = []
    numbered = [(number, i) for i in items if (number := slot_number(i.slot))]
    for _, item in sorted(numbered, key=lambda entry: (entry[0], entry[1].id)):
        # What this combat holds already is listed again: `fill` needs the whole belt.
        holder = item.reserved_session_id
        if holder != session_id:
            if holder is not None and not item.is_left:
                held.append(Held(item.id, item.character_id, holder))
                continue
            fresh.append(item.id)
        belts[item.character_id].append(item.on_belt())
    return belts, held, fresh


def held_by_player(held: Iterable[Held]) -> Mapping[int, list[tuple[int, UUID]]]:
    found: defaultdict[int, list[tuple[int, UUID]]] = defaultdict(list)
    for one in held:
        found[one.character_id].append((one.inventory_id, one.session_id))
    return found


def told_of(held: Sequence[tuple[int, UUID]]) -> str:
    """As the engine is told of what others hold."""
    return json.dumps([(row, str(holder)) for row, holder in held])


def changed(
    session_id: UUID, char_id: int, text: bytes | None, items: Sequence[BeltItem]
) -> tuple[bytes, bytes]:
    """The container's text and what it is to be; both empty where it is left alone."""
    after = _with_belt(session_id, char_id, text, items) if items else None
    return (b"", b"") if text is None or after is None else (text, after)


def _with_belt(
    session_id: UUID, char_id: int, text: bytes | None, items: Sequence[BeltItem]
) -> bytes | None:
    """The container's new text; None where it is not to be written.

    Changed as JSON here: Lua would write every empty list of it as an object.
    """
    if text is None:
        return None
    try:
        container = json.loads(text)
    except (ValueError, RecursionError):
        container = None
    if not isinstance(container, dict):
        logger.error(
            "container unreadable",
            extra={
                "session_id": session_id,
                "field": redis_keys.actor_field(char_id),
            },
        )
        return None
    # Loaded before, and perhaps used since: loaded anew it would give pieces back.
    if container.get("belt_items"):
        return None
    used = _pieces_used(container.get("consumed"))
    if used is None:
        return None
    container["belt_items"] = [
        {
            **item.model_dump(mode="json", exclude_none=True),
            "quantity": max(0, item.quantity - used[item.inventory_id]),
        }
        for item in items
    ]
    return json.dumps(container, separators=(",", ":")).encode()


def _pieces_used(consumed: object) -> Counter[int] | None:
    """By inventory id: of a player who is back, or a fight that Redis had forgotten.

    None where it is not readable: nobody knows then what is left.
    """
    used: Counter[int] = Counter()
    try:
        for entry in _USES.validate_python(consumed or []):
            used[entry.inventory_id] += entry.qty
    except ValidationError:
        return None
    return used
