"""What the calls that ask for saves do, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.errors import CombatInProgress, DispatchFailed, ItemReserved
from persistence.contract.operations import Operation
from persistence.contract.signing import EngineKeys
from persistence.engine import calls
from persistence.engine.answers import ContextSwitch
from persistence.engine.calls import Call, SessionId
from persistence.engine.line import Line
from persistence.engine.remembered import Answer
from persistence.engine.steps import MAX_TRIES, Ask, Steps
from persistence.protocols import SyncScope, mode_of, scope_of


def dispatch(line: Line, scope: str, char_id: int) -> Steps[None]:
    call = calls.intend(scope, char_id)
    answered = yield Ask(call)
    line.accepted(call, answered, partial(_noted, line, scope, char_id))


def change_inventory(
    line: Line,
    char_id: int,
    operations: Sequence[Operation | Document],
    keys: EngineKeys,
) -> Steps[None]:
    call = calls.queue(char_id, operations, keys)
    # Strict: where Redis has lost earlier ones, these must not overtake them.
    for _ in range(MAX_TRIES):
        owed = line.memory.owed_operations(call)
        behind = calls.behind(call, [kept.call for kept in owed])
        answered = yield Ask(behind, strict=True)
        if answered.reply is not None:
            line.accepted(call, answered, partial(_queued, line, char_id))
            line.memory.handed(owed, answered.generation)
            return
    raise DispatchFailed(call.name, call.subject, "Redis loses what it is told")


def switch_context(
    line: Line, char_id: int, to: str, session_id: SessionId | None
) -> Steps[ContextSwitch]:
    answered = yield Ask(calls.switch(char_id, to, session_id))
    return _switched(line, char_id, answered)


def _noted(line: Line, scope: str, char_id: int, reply: Any) -> None:
    """A message that is under way serves a newer note, too."""
    _, to_ring = reply
    if to_ring:
        line.ask_for_save(scope, char_id)


def _queued(line: Line, char_id: int, reply: Any) -> None:
    word, *rest = calls.texts(reply)
    if word == "reserved":
        raise ItemReserved(char_id, rest[0], [int(id_) for id_ in rest[1:]])
    if rest == ["1"]:
        line.ask_for_save(SyncScope.INVENTORY, char_id)


def _switched(line: Line, char_id: int, answered: Answer) -> ContextSwitch:
    word, *rest = calls.texts(answered.reply)
    if word == "busy":
        raise CombatInProgress(char_id, rest[0])
    if word == "foreign":
        raise DispatchFailed(
            "switch_context",
            f"character {char_id}",
            f"{redis_keys.account(char_id)} is neither a hash nor RedisJSON",
        )
    modes = list(map(mode_of, rest[1::3]))
    closed = dict(zip(modes, rest[2::3], strict=True))
    for mode, to_ring in zip(modes, rest[3::3], strict=True):
        scope = scope_of(mode)
        if to_ring == "1":
            line.ask_for_save(scope, char_id)
        # Said again, the switch itself might close what was opened since.
        save: Call = calls.intend(scope, char_id)
        line.keep(save, answered.generation, partial(_noted, line, scope, char_id))
    opened = UUID(rest[0]) if rest[0] else None
    return ContextSwitch(opened, word == "switched", closed)
