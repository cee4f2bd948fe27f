"""The engine's calls as scripts with their arguments: what is asked, before it is sent.

Pure: wrong arguments raise here (ValueError, OperationInvalid), and nothing was sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from pydantic_core import to_json

from persistence.contract import redis_keys
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.document import Document, parse_strictly, write_document
from persistence.contract.errors import OperationInvalid, PayloadInvalid
from persistence.contract.ids import parse_session_id
from persistence.contract.operations import (
    OURS,
    Operation,
    parse_operation,
    pieces_by_template,
    reservable_rows,
)
from persistence.contract.signing import NO_KEYS, EngineKeys
from persistence.engine.handoff import unjudged
from persistence.protocols import GameMode

SessionId = UUID | str


@dataclass(frozen=True, slots=True)
class Call:
    """One script with its arguments, and how to name it when it fails.

    `promises`: once it is answered, what it asked for must not be lost. Until it is
    done it `waits`, as a member of a sorted set or, with '', as a list. Of those that
    are handed over again, one makes an earlier one of its `identity` needless.
    `combat`: the session that it is of; the call that `ends` it makes the others of it
    needless.
    """

    name: str
    subject: str
    script: str
    keys: list[str]
    args: list[Any]
    promises: bool = True
    waits: tuple[str, str] = ("", "")
    identity: tuple[str, ...] = ()
    combat: str = ""
    ends: bool = False


HAND_OFF, QUEUE, USE = "handoff", "queue", "use_item"
_OPERATIONS = 4
"""Where they begin among the arguments of QUEUE, see `_queue`."""


def look(kept: Sequence[Call]) -> Call:
    """Which of these are not done yet: 1 or 0 of each."""
    keys = [call.waits[0] for call in kept]
    members = [call.waits[1] for call in kept]
    return Call("look", "Redis", "waiting", keys, members, promises=False)


def again(kept: Sequence[Call]) -> Call:
    """A call that was answered before, once more; several are one player's operations.

    Those were accepted before the fight began that may hold their items by now.
    """
    if kept[0].script == HAND_OFF:
        # Judged by one clock, it is not judged by a later one.
        return replace(kept[0], args=unjudged(kept[0].args))
    # The last argument says that it was counted before: the belt may be gone by now.
    if kept[0].script == USE:
        return replace(kept[0], args=[*kept[0].args[:-1], 1])
    if kept[0].script != QUEUE:
        return kept[0]
    operations = [one for call in kept for one in call.args[_OPERATIONS:]]
    return replace(kept[0], args=_queue(kept[0].args[0], [], {}, operations))


def behind(call: Call, kept: Sequence[Call]) -> Call:
    """Operations that queue behind those that may have been lost."""
    earlier = again(kept).args[_OPERATIONS:] if kept else []
    return replace(
        call, args=[*call.args[:_OPERATIONS], *earlier, *call.args[_OPERATIONS:]]
    )


def intend(scope: str, char_id: int) -> Call:
    member = redis_keys.intent(scope, player(char_id))
    return Call(
        f"dispatch {scope}",
        f"character {char_id}",
        "intend",
        [redis_keys.INTENTS, redis_keys.INTENTS_SENT],
        [member, "again"],
        waits=(redis_keys.INTENTS, member),
        identity=("intend", member),
    )


def queue(
    char_id: int,
    operations: Sequence[Operation | Document],
    keys: EngineKeys = NO_KEYS,
) -> Call:
    char_id = player(char_id)
    parsed = [parse_operation(char_id, _document(char_id, o)) for o in operations]
    # A person's corrections go through PostgreSQL: whoever writes here is no person.
    if any(operation.op_id.startswith(OURS) for operation in parsed):
        fault = {"path": "op_id", "message": f"{OURS}… is what a person asks for"}
        raise OperationInvalid(char_id, [fault])
    documents = [operation.model_dump(exclude_none=True) for operation in parsed]
    signed = [keys.sign_operation(char_id, document) for document in documents]
    return _queued(char_id, parsed, [to_json(one).decode() for one in signed])


def reserve(char_id: int, operations: Sequence[Operation]) -> Call:
    """Refused as `queue` would be, and a save noted; the operations go another way."""
    return _queued(player(char_id), operations, [])


def _queued(
    char_id: int, parsed: Sequence[Operation], operations: Sequence[str]
) -> Call:
    taken_from = [str(row) for o in parsed for row in reservable_rows(o)]
    return Call(
        "change_inventory",
        f"character {char_id}",
        QUEUE,
        [
            redis_keys.account(char_id),
            redis_keys.inventory_delta(char_id),
            redis_keys.INTENTS,
            redis_keys.INTENTS_SENT,
        ],
        _queue(
            char_id,
            taken_from,
            pieces_by_template(parsed),
            operations,
        ),
        waits=(redis_keys.inventory_delta(char_id), ""),
    )


def _queue(
    char_id: int,
    taken_from: Sequence[str],
    pieces: Mapping[str, object],
    operations: Sequence[str],
) -> list[Any]:
    head = [char_id, redis_keys.SESSION_PREFIX, json.dumps(taken_from)]
    return [*head, json.dumps(pieces), *operations]


def switch(char_id: int, to: str, session_id: SessionId | None) -> Call:
    # It needs a belt, a heartbeat and players: a switch has none of these.
    if to == GameMode.COMBAT:
        raise ValueError("a combat is entered by start_combat")
    sid = uuid4() if session_id is None else parse_session_id(session_id)
    return Call(
        "switch_context",
        f"character {char_id}",
        "switch",
        [
            redis_keys.account(player(char_id)),
            redis_keys.INTENTS,
            redis_keys.INTENTS_SENT,
        ],
        [char_id, str(to), str(sid), int(session_id is None)],
    )


def _document(char_id: int, operation: Operation | Document) -> Document:
    """An operation as its JSON text says it: an id of any type is its text there."""
    if not isinstance(operation, dict):
        return operation.model_dump(exclude_none=True)
    try:
        return parse_strictly(write_document(operation))
    except PayloadInvalid as error:
        raise OperationInvalid(char_id, error.errors) from error


def player(char_id: object) -> int:
    """The id. Raises ValueError for what can be no player's."""
    # A bool is an int, and would name player 1.
    if type(char_id) is int and 1 <= char_id <= MAX_BIGINT:
        return char_id
    raise ValueError(
        f"{char_id!r} is no player: ids are whole numbers from 1 to {MAX_BIGINT}"
    )


def texts(reply: Sequence[Any]) -> list[str]:
    return [v.decode() if isinstance(v, bytes) else str(v) for v in reply]
