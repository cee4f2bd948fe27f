"""What the calls about a combat do, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID

from persistence.contract import redis_keys
from persistence.contract.errors import (
    CombatFinished,
    CombatInProgress,
    CombatNotRegistered,
    CombatRunning,
    DispatchFailed,
    HandoffFailed,
    ItemNotOnBelt,
    ItemSpent,
    NotInCombat,
    PayloadConflict,
    PersistenceError,
    UseIdReused,
)
from persistence.engine import combat_calls, handoff
from persistence.engine.answers import Belts, CombatStart, read_start
from persistence.engine.calls import Call, SessionId, texts
from persistence.engine.combat_calls import Teams
from persistence.engine.ending import Ending, Fight
from persistence.engine.handoff import Handoff, Receipt
from persistence.engine.line import Line
from persistence.engine.steps import MAX_TRIES, Ask, Steps, Wait
from persistence.protocols import scope_of


def submit(line: Line, handed: Handoff) -> Steps[Receipt]:
    call = combat_calls.hand_over("submit_combat", handed)
    answered = yield Ask(call)
    return line.accepted(call, answered, partial(_receipt, line, handed.session_id))


def finish(line: Line, ending: Ending) -> Steps[Receipt]:
    sid = ending.session_id
    for _ in range(MAX_TRIES):
        told = yield Ask(combat_calls.roster(sid, ending.mark))
        made = ending.handoff(Fight.read(told.reply))
        if made is None:
            return Receipt.DUPLICATE
        call = combat_calls.hand_over("finish_combat", made)
        answered = yield Ask(call)
        if handoff.answer(answered.reply)[0] is not Receipt.MOVED:
            return line.accepted(call, answered, partial(_receipt, line, sid))
    raise HandoffFailed(str(sid), "the fight goes on while it is being finished")


def start(
    line: Line, session_id: SessionId, char_ids: Iterable[int], teams: Teams | None
) -> Steps[CombatStart]:
    call, sid, ids = combat_calls.start(session_id, char_ids, teams)
    read = partial(_started, line, sid)
    answered = yield Ask(call)
    is_new = read(answered.reply)
    started = yield from _with_belts(sid, ids, is_new=is_new, trusts_ring=True)
    # The first one names all of the players, and stays before what happened since.
    if not line.memory.knows(call):
        line.keep(call, answered.generation, read)
    return started


def join(line: Line, session_id: SessionId, teams: Teams) -> Steps[CombatStart]:
    call, sid, ids = combat_calls.join(session_id, teams)
    read = partial(_joined, line, sid)
    answered = yield Ask(call)
    is_new = read(answered.reply)
    joined = yield from _with_belts(sid, ids, is_new=is_new, trusts_ring=False)
    line.keep(call, answered.generation, read)
    return joined


def leave(line: Line, session_id: SessionId, char_id: int) -> Steps[None]:
    call = combat_calls.leave(session_id, char_id)
    answered = yield Ask(call)
    line.accepted(call, answered, partial(_left, line, call.combat, char_id))


def use_item(
    line: Line, session_id: SessionId, char_id: int, inventory_id: int, use_id: str
) -> Steps[int]:
    call = combat_calls.use(session_id, char_id, inventory_id, use_id)
    answered = yield Ask(call)
    return line.accepted(call, answered, partial(_used, call, char_id, inventory_id))


def heartbeat(session_id: SessionId) -> Steps[bool]:
    answered = yield Ask(combat_calls.heartbeat(session_id))
    return bool(answered.reply)


def _with_belts(
    session_id: UUID, char_ids: list[int], *, is_new: bool, trusts_ring: bool
) -> Steps[CombatStart]:
    """Waits for belts that cannot be loaded yet, or are found not to be.

    A combat that goes on may have been told of other belts than those that are new:
    `trusts_ring` is of one that begins.
    """
    wait = Wait(redis_keys.belts_ready(session_id))
    read = Ask(combat_calls.read_actors(session_id, char_ids))
    was_rung = is_new and (yield wait)
    told = (yield read).reply
    started = read_start(session_id, char_ids, told, is_done=was_rung and trusts_ring)
    if started.belts is Belts.LATE and (was_rung or not is_new):
        yield wait
        told = (yield read).reply
        started = read_start(session_id, char_ids, told, is_done=False)
    return started


# Remembered with the call: a parsed document is not to be.
def _receipt(line: Line, session_id: UUID, reply: Any) -> Receipt:
    receipt, to_ring = handoff.answer(reply)
    if to_ring:
        line.press("settle_inbox")
    if receipt is Receipt.CONFLICT:
        raise PayloadConflict(str(session_id))
    if receipt is Receipt.FUTURE:
        raise handoff.in_the_future()
    return receipt


def _started(line: Line, session_id: UUID, reply: Any) -> bool:
    """Whether it was not known before."""
    word, *rest = texts(reply)
    if word == "running":
        raise CombatRunning(str(session_id), [int(id_) for id_ in rest])
    _entered(line, session_id, word, rest)
    return word == "started"


def _joined(line: Line, session_id: UUID, reply: Any) -> bool:
    """Whether somebody was not in it before."""
    word, *rest = texts(reply)
    _entered(line, session_id, word, rest)
    return word == "joined"


def _entered(line: Line, session_id: UUID, word: str, rest: list[str]) -> None:
    if word == "busy":
        raise CombatInProgress(int(rest[0]), rest[1])
    _refuse_gone(str(session_id), word)
    to_ring, *saves = rest
    _ring_for_belts(line, str(session_id), to_ring)
    for mode, char_id in zip(saves[::2], saves[1::2], strict=True):
        line.ask_for_save(scope_of(mode), int(char_id))


def _left(line: Line, session_id: str, char_id: int, reply: Any) -> None:
    word, *rest = texts(reply)
    _refuse_gone(session_id, word)
    if word == "no_fighter":
        raise NotInCombat(session_id, char_id)
    _ring_for_belts(line, session_id, rest[0])


def _used(call: Call, char_id: int, inventory_id: int, reply: Any) -> int:
    word, *rest = texts(reply)
    if word == "used":
        return int(rest[0])
    _refuse_gone(call.combat, word)
    if word == "no_fighter":
        raise NotInCombat(call.combat, char_id)
    if word == "unreadable":
        container = redis_keys.actor_field(char_id)
        raise DispatchFailed(call.name, call.subject, f"{container} is not readable")
    raise _UNUSABLE[word](call.combat, char_id, inventory_id)


_UNUSABLE: dict[str, Callable[[str, int, int], PersistenceError]] = {
    "not_on_belt": ItemNotOnBelt,
    "spent": ItemSpent,
    "reused": UseIdReused,
}


def _refuse_gone(session_id: str, word: str) -> None:
    if word == "absent":
        raise CombatNotRegistered(session_id)
    if word in {"over", "finished"}:
        raise CombatFinished(session_id)


def _ring_for_belts(line: Line, session_id: str, to_ring: str) -> None:
    if to_ring == "1":
        line.press("assemble_belts", session_id)
