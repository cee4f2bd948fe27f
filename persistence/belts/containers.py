"""The Redis side of belts: the containers of a live combat.

A container is the engine's while the fight runs: it is read, changed and put back only
where it is still what was read, and a belt that is there already is left alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Any
from uuid import UUID

from persistence.contract import redis_keys
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.payload import PLAYER_KEY, BeltItem
from persistence.worker import inbox

logger = logging.getLogger(__name__)

MAX_FILLS = 10
"""An engine that changes a container each time between two round trips is at fault."""


class Stage(StrEnum):
    """Whether a combat can use a belt, as Redis knows it."""

    ABSENT = "absent"
    """Not begun, or forgotten."""
    ACTIVE = "active"
    OVER = "over"
    """Ended, or its result is known."""


def stage(session_id: UUID) -> Stage:
    return Stage(_read(session_id)[0].decode())


def fighters(session_id: UUID) -> list[int] | None:
    """The players of a live combat, ascending; None where none runs."""
    told, participants = _read(session_id)
    if told != b"active":
        return None
    try:
        listed = json.loads(participants or b"")
    except (ValueError, RecursionError):
        listed = None
    # The engine's own key: whatever stands there is read or reported, and raises
    # nothing.
    if not isinstance(listed, list):
        logger.error("participants unreadable", extra={"session_id": session_id})
        return []
    players = (int(id_) for id_ in map(str, listed) if PLAYER_KEY.fullmatch(id_))
    return sorted({id_ for id_ in players if id_ <= MAX_BIGINT})


def fill(session_id: UUID, belts: Mapping[int, Sequence[BeltItem]]) -> Stage:
    """Put the belts into the containers that have none, and wake whoever waits.

    Nothing is written unless the combat is active. Harmless to repeat.
    """
    filled = {redis_keys.actor_field(c): items for c, items in belts.items() if items}
    # Optimistic: the script writes only where the text is still what was read here. An
    # engine may count a potion down between the two round trips.
    for _ in range(MAX_FILLS):
        told, _, *texts = _read(session_id, *filled)
        if told != b"active":
            return Stage(told.decode())
        changes = [
            (field, text, changed)
            for (field, items), text in zip(filled.items(), texts, strict=True)
            if (changed := _with_belt(session_id, field, text, items)) is not None
        ]
        told, *meanwhile = inbox.script("belts")(
            keys=[*_keys(session_id), redis_keys.belts_ready(session_id)],
            args=[redis_keys.BELTS_READY_TTL_SECONDS, *chain.from_iterable(changes)],
        )
        if not meanwhile:
            return Stage(told.decode())
    raise RuntimeError(f"the containers of combat {session_id} never stand still")


def take_back(
    session_id: UUID, char_ids: Sequence[int], unknown: Sequence[int]
) -> Stage:
    """Undo a start: of unknown characters, or, where none is, of a settled combat.

    ACTIVE where the engine has been told that it began; it is only marked then.
    """
    told: bytes = inbox.script("take_back")(
        keys=[
            *_keys(session_id),
            redis_keys.ACTIVE,
            redis_keys.belts_ready(session_id),
            *map(redis_keys.account, char_ids),
        ],
        args=[
            str(session_id),
            json.dumps(list(unknown)),
            redis_keys.REFUSED_SESSION_TTL_SECONDS,
            redis_keys.BELTS_READY_TTL_SECONDS,
        ],
    )
    return Stage(told.decode())


def note_free(session_id: UUID, free: Mapping[int, Mapping[str, int]]) -> None:
    """Note how many pieces of what is on the belts lie elsewhere in the inventories.

    Operations on these templates are then refused at once where only a belt is left.
    """
    if not free:
        return
    # The last fight and the waiting operations, too: while either may change what the
    # table says, nothing is noted for that player.
    keys = [redis_keys.session(session_id), redis_keys.INBOX]
    for char_id in free:
        keys += [redis_keys.account(char_id), redis_keys.inventory_delta(char_id)]
    fields = [
        {redis_keys.free_field(char_id, name): number for name, number in of.items()}
        for char_id, of in free.items()
    ]
    inbox.script("belts_free")(keys=keys, args=list(map(json.dumps, fields)))


def are_settling(session_ids: Sequence[UUID]) -> bool:
    """Whether a worker is about to settle one of them, and so to release its belts."""
    if not session_ids:
        return False
    due = inbox.client().zmscore(redis_keys.INBOX, list(map(str, session_ids)))
    return any(score is not None for score in due)


def _read(session_id: UUID, *fields: str) -> list[Any]:
    reply: list[Any] = inbox.script("belts_read")(keys=_keys(session_id), args=fields)
    return [*reply, None] if len(reply) == 1 else reply


def _keys(session_id: UUID) -> list[str]:
    return [redis_keys.session(session_id), redis_keys.result(session_id)]


def _with_belt(
    session_id: UUID, field: str, text: bytes | None, items: Sequence[BeltItem]
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
            "container unreadable", extra={"session_id": session_id, "field": field}
        )
        return None
    # Loaded before, and perhaps used since: loaded anew it would give pieces back.
    if container.get("belt_items") or container.get("consumed"):
        return None
    container["belt_items"] = [item.model_dump(mode="json") for item in items]
    return json.dumps(container, separators=(",", ":")).encode()
