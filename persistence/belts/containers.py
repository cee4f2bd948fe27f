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

from persistence.belts.belt import changed, told_of
from persistence.contract import redis_keys, roster
from persistence.contract.payload import BeltItem, begun_with
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
    players = begun_with(participants)
    if players is None:
        logger.error("participants unreadable", extra={"session_id": session_id})
    return players or []


def leavers(session_id: UUID) -> dict[int, set[int]]:
    """Players who have left a combat that goes on, and the rows that each has used up.

    Without those whose containers are not readable.
    """
    told, _, _, _, _, _, *found = inbox.script("roster")(
        keys=_keys(session_id), args=[""]
    )
    if told != b"active":
        return {}
    texts = [value.decode("utf-8", "replace") for value in found]
    return roster.used_by_leavers(dict(zip(texts[::2], texts[1::2], strict=True)))


def fill(
    session_id: UUID,
    belts: Mapping[int, Sequence[BeltItem]],
    held: Mapping[int, Sequence[tuple[int, UUID]]],
) -> Stage:
    """Put the belts into the containers that have none, and wake whoever waits.

    `held`: what other combats hold of each belt. Nothing is written unless the combat
    is active. Harmless to repeat.
    """
    said = {char_id: told_of(held.get(char_id, ())) for char_id in belts}
    # Optimistic: the script writes only where the text is still what was read here. An
    # engine may count a potion down between the two round trips.
    for _ in range(MAX_FILLS):
        told, _, *texts = _read(session_id, *map(redis_keys.actor_field, belts))
        if told != b"active":
            return Stage(told.decode())
        players: list[Any] = [
            (char_id, said[char_id], *changed(session_id, char_id, text, items))
            for (char_id, items), text in zip(belts.items(), texts, strict=True)
        ]
        told, *meanwhile = inbox.script("belts")(
            keys=[*_keys(session_id), redis_keys.belts_ready(session_id)],
            args=[redis_keys.BELTS_READY_TTL_SECONDS, *chain.from_iterable(players)],
        )
        if not meanwhile:
            return Stage(told.decode())
    raise RuntimeError(f"the containers of combat {session_id} never stand still")


def take_back(
    session_id: UUID, char_ids: Sequence[int], unknown: Sequence[int]
) -> Stage:
    """Undo a start: of unknown characters, or, where none is, of a settled combat.

    ACTIVE where the engine has been told that it began: those who were joining are
    shown out then, and others only marked.
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
            *char_ids,
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
