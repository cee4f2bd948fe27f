"""Makes the document of a forced save: what `cs:` knows, and not a coin more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from uuid import UUID

from pydantic import ValidationError

from persistence.contract import redis_keys
from persistence.contract.changes import ConsumedItem
from persistence.contract.document import Document, parse_strictly
from persistence.contract.errors import PayloadInvalid
from persistence.contract.meta import FinishReason
from persistence.contract.payload import CombatSessionContainerDTO
from persistence.sweeping.players import player_id

Fault = dict[str, str]
"""{path, message} of what stands in a container and cannot be used."""


def abandoned(
    session_id: UUID, session: Mapping[str, str], ended_at: int
) -> tuple[Document, list[Fault]]:
    """The document, and the faults that people are to see: nothing is left unsaid.

    Of a container that breaks its contract each readable entry of `consumed` is taken,
    and nothing else; its text stays in the document.
    """
    participants: Document = {}
    faults = list(_of_no_player(session))
    for char_id, text in _actors(session).items():
        participants[char_id], found = _participant(char_id, text)
        faults += found
    document: Document = {
        "session_id": str(session_id),
        "meta": {
            "end_timestamp": ended_at,
            "winner_team": None,
            "finish_reason": str(FinishReason.ABANDONED),
            "forced": True,
        },
        "participants": participants,
    }
    return document, faults


def _actors(session: Mapping[str, str]) -> dict[str, str | None]:
    """Players by id: those that are listed, and those that have a container."""
    try:
        listed = json.loads(session.get("participants", "[]"))
    except (ValueError, RecursionError):
        listed = []
    names = [str(id_) for id_ in listed] if isinstance(listed, list) else []
    prefix = redis_keys.ACTOR_PREFIX
    names += [field[len(prefix) :] for field in session if field.startswith(prefix)]
    players = dict.fromkeys(name for name in names if player_id(name))
    return {name: session.get(f"{prefix}{name}") for name in players}


def _of_no_player(session: Mapping[str, str]) -> Iterator[Fault]:
    """Faults of what was consumed under a key of no player: it was meant for one."""
    prefix = redis_keys.ACTOR_PREFIX
    for field, text in session.items():
        is_odd = field.startswith(prefix) and not player_id(field[len(prefix) :])
        if is_odd and any(_readable_uses(text)):
            words = "is consumed by nobody: this participant is no player"
            yield {"path": f"{field}.consumed", "message": words}


def _participant(char_id: str, text: str | None) -> tuple[Document, list[Fault]]:
    if text is None:
        return _part(CombatSessionContainerDTO()), []
    try:
        parse_strictly(text.encode("utf-8", "surrogatepass"))
        return _part(CombatSessionContainerDTO.model_validate_json(text)), []
    except PayloadInvalid as error:
        found = [(fault["path"], fault["message"]) for fault in error.errors]
    except ValidationError as error:
        found = list(_faults(error))
    field = f"{redis_keys.ACTOR_PREFIX}{char_id}"
    faults = [
        {"path": f"{field}.{path}".rstrip("."), "message": m} for path, m in found
    ]
    readable = CombatSessionContainerDTO(consumed=list(_readable_uses(text)))
    # No column takes a NUL.
    return {**_part(readable), "container": text.replace("\0", "\\0")}, faults


def _part(actor: CombatSessionContainerDTO) -> Document:
    consumed = [used.model_dump(exclude_none=True) for used in actor.consumed]
    part: Document = {
        "is_winner": False,
        "changes": {"items_consumed": consumed} if consumed else {},
    }
    if actor.team is not None:
        part["team"] = actor.team
    if actor.hp is not None and actor.energy is not None:
        part["state_snapshot"] = {"hp": actor.hp, "energy": actor.energy}
    return part


def _readable_uses(text: str) -> Iterator[ConsumedItem]:
    try:
        container = json.loads(text)
    except (ValueError, RecursionError):
        return
    uses = container.get("consumed") if isinstance(container, dict) else None
    for use in uses if isinstance(uses, list) else []:
        try:
            yield ConsumedItem.model_validate(use)
        except ValidationError:
            continue  # among the faults of the container


def _faults(error: ValidationError) -> Iterator[tuple[str, str]]:
    for fault in error.errors(
        include_url=False, include_context=False, include_input=False
    ):
        yield ".".join(map(str, fault["loc"])), fault["msg"]
