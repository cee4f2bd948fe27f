"""Makes participants of a document from what `cs:` knows of a fight, and nothing more.

Of a container that breaks its contract each readable entry of `consumed` is taken, and
nothing else; its text stays in the participant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from persistence.contract import redis_keys
from persistence.contract.changes import ConsumedItem
from persistence.contract.document import Document, parse_strictly
from persistence.contract.errors import PayloadInvalid
from persistence.contract.payload import CombatSessionContainerDTO
from persistence.contract.players import player_id

Fault = dict[str, str]
"""{path, message} of what stands in a container and cannot be used."""

Session = Mapping[str, str]
"""Fields of a live session."""


def participants(session: Session) -> tuple[dict[str, Document], list[Fault]]:
    """Every player who fights or has left, by id, and the faults of containers.

    Nothing is left unsaid. Of who has left nobody knows the vitals any more.
    """
    found: dict[str, Document] = {}
    faults = list(_of_no_player(session))
    for char_id, text in _actors(session).items():
        found[char_id], told = _participant(char_id, text)
        if has_left(session, char_id):
            found[char_id].pop("state_snapshot", None)
        faults += told
    return found, faults


def has_left(session: Session, char_id: str) -> bool:
    return redis_keys.left_field(int(char_id)) in session


def used_by_leavers(session: Session) -> dict[int, set[int]]:
    """Inventory ids that each player who has left has used up; of a container that is
    not readable nobody can say, and it is left out."""
    used = {}
    for char_id, text in _actors(session).items():
        if text is not None and has_left(session, char_id):
            part, faults = _participant(char_id, text)
            if not faults:
                consumed = part["changes"].get("items_consumed", [])
                used[int(char_id)] = {entry["inventory_id"] for entry in consumed}
    return used


def _actors(session: Session) -> dict[str, str | None]:
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


def _of_no_player(session: Session) -> Iterator[Fault]:
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
