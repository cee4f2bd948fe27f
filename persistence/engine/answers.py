"""The answers that the engine's calls return."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from persistence.contract.errors import CharactersUnknown, CombatFinished
from persistence.contract.payload import CombatSessionContainerDTO
from persistence.protocols import GameMode


@dataclass(frozen=True, slots=True)
class CombatStart:
    """A registered combat. Without `belts_loaded` the belts follow in `cs:`."""

    session_id: UUID
    actors: Mapping[int, CombatSessionContainerDTO]
    belts_loaded: bool


@dataclass(frozen=True, slots=True)
class ContextSwitch:
    """The outcome of a switch: the session that is open now, and those being saved."""

    session_id: UUID | None
    changed: bool
    closed: Mapping[GameMode, str] = field(default_factory=dict)


def read_start(
    session_id: UUID, loaded: bool, char_ids: list[int], reply: Any
) -> CombatStart:
    are_awaited, refused, *containers = reply
    if refused is not None:
        unknown = json.loads(refused)
        if unknown:
            raise CharactersUnknown(str(session_id), unknown)
        raise CombatFinished(str(session_id))
    actors = {}
    for char_id, container in zip(char_ids, containers, strict=True):
        try:
            actors[char_id] = CombatSessionContainerDTO.model_validate_json(container)
        except (ValidationError, TypeError):
            # The fight ended meanwhile, or the engine writes containers of its own.
            actors[char_id] = CombatSessionContainerDTO()
    return CombatStart(session_id, actors, loaded or not are_awaited)
