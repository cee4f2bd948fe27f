"""The answers that the engine's calls return."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from persistence.contract.errors import CharactersUnknown, CombatFinished
from persistence.contract.payload import CombatSessionContainerDTO


class Belts(StrEnum):
    """Whether the belts of a combat can be used, or why not."""

    LOADED = "loaded"
    LATE = "late"
    """No worker has loaded all of them in time: the same call again waits for them."""
    HELD = "held"
    """Loaded but for what other combats hold; `CombatStart.held` says what."""


@dataclass(frozen=True, slots=True)
class HeldItem:
    """What another combat may still use of a belt."""

    inventory_id: int
    session_id: UUID


@dataclass(frozen=True, slots=True)
class CombatStart:
    """A combat that goes on, and how those asked for stand in it."""

    session_id: UUID
    actors: Mapping[int, CombatSessionContainerDTO]
    belts: Belts
    held: Mapping[int, list[HeldItem]] = field(default_factory=dict)
    """By character; of those without any, nothing."""

    @property
    def belts_loaded(self) -> bool:
        """Else the belts follow in `cs:`."""
        return self.belts is not Belts.LATE


@dataclass(frozen=True, slots=True)
class ContextSwitch:
    """The outcome of a switch: the session that is open now, and those being saved."""

    session_id: UUID | None
    changed: bool
    closed: Mapping[str, str] = field(default_factory=dict)


def read_start(
    session_id: UUID, char_ids: list[int], reply: Any, *, is_done: bool
) -> CombatStart:
    """`is_done`: a worker has said that it is done with all of the belts.

    Raises CharactersUnknown, or CombatFinished where it was taken back.
    """
    are_awaited, refused, *found = reply
    if refused is not None:
        unknown = json.loads(refused)
        if unknown:
            raise CharactersUnknown(str(session_id), unknown)
        raise CombatFinished(str(session_id))
    said = dict(zip(char_ids, map(_held, found[1::2]), strict=True))
    if nobody := [id_ for id_, held in said.items() if held is _NOBODY]:
        raise CharactersUnknown(str(session_id), nobody)
    # A worker of an older release says nothing of each belt.
    is_late = are_awaited and not is_done and None in said.values()
    held = {id_: items for id_, items in said.items() if items}
    belts = Belts.LATE if is_late else Belts.HELD if held else Belts.LOADED
    actors = dict(zip(char_ids, map(_actor, found[::2]), strict=True))
    return CombatStart(session_id, actors, belts, held)


_NOBODY: list[HeldItem] = []
"""Said of who does not exist."""


def _held(text: bytes | None) -> list[HeldItem] | None:
    """None where nobody has looked for the belt yet."""
    if text is None:
        return None
    said = json.loads(text)
    if said is None:
        return _NOBODY
    return [HeldItem(row, UUID(session_id)) for row, session_id in said]


def _actor(container: bytes | None) -> CombatSessionContainerDTO:
    try:
        return CombatSessionContainerDTO.model_validate_json(container)  # type: ignore[arg-type]
    except (ValidationError, TypeError):
        # The fight ended meanwhile, or the engine writes containers of its own.
        return CombatSessionContainerDTO()
