"""SyncDispatcher: the engine's one door. No Django, no blocking of the event loop.

What a call asked for is noted in Redis when it returns, in one round trip; the workers
are rung off the caller's path. On HandoffFailed or DispatchFailed nothing is promised:
the same call again is harmless.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from persistence.contract import redis_keys
from persistence.contract.document import MAX_DOCUMENT_BYTES, Document
from persistence.contract.errors import (
    CombatFinished,
    CombatInProgress,
    CombatRunning,
    DispatchFailed,
    HandoffFailed,
    ItemReserved,
    PayloadConflict,
)
from persistence.contract.operations import Operation
from persistence.contract.payload import CombatResultPayload
from persistence.contract.signing import NO_KEYS, EngineKeys
from persistence.engine import calls
from persistence.engine.answers import CombatStart, ContextSwitch, read_start
from persistence.engine.calls import Call, SessionId
from persistence.engine.doorbell import Doorbell
from persistence.engine.handoff import Receipt, answer, checked, in_the_future
from persistence.engine.redis import Asked, EngineRedis, NotAnswered
from persistence.engine.remembered import Answer, Kept, Limits, Memory, Reminder
from persistence.protocols import GameMode, SyncScope

MAX_TRIES = 3
"""How often operations are sent whose Redis loses its memory meanwhile."""

DEFAULT_TIMEOUT_SECONDS = 2.0
MAX_TIMEOUT_SECONDS = 10.0

_Read = TypeVar("_Read")

Payload = CombatResultPayload | Document | str | bytes


class SyncDispatcher:
    """Hands over and asks for saves, asynchronously or from synchronous code.

    `timeout` bounds every call, connecting and one reconnect included. Usable from
    several threads and event loops. `replicas`: a call is answered only once that
    many replicas of Redis have what it asked for; heartbeats, soon followed by the next
    one, do not wait. `remembered` bounds what is handed over again where Redis loses
    it. `keys`: the first signs whatever is handed over.
    """

    def __init__(
        self,
        redis_url: str,
        broker_url: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
        replicas: int = 0,
        remembered: Limits | None = None,
        keys: EngineKeys = NO_KEYS,
    ) -> None:
        if not 0 < timeout <= MAX_TIMEOUT_SECONDS:
            raise ValueError(f"timeout: above 0, at most {MAX_TIMEOUT_SECONDS}")
        self._timeout = timeout
        self._max_document_bytes = max_document_bytes
        self._keys = keys
        self._doorbell = Doorbell(broker_url or redis_url)
        self._redis = EngineRedis(redis_url, timeout, replicas)
        self._memory = Memory(remembered or Limits())
        self._reminder = Reminder(self._memory, self._send_all)

    @classmethod
    def from_env(cls) -> SyncDispatcher:
        """By the variables of the engine's side: docs/reference/settings.md."""
        # URL of the Redis of the combats; must be set.
        redis_url = os.environ.get("REDIS_URL")
        if not redis_url:
            raise ValueError("REDIS_URL is not set: it names the Redis of the combats")
        # Bound of every call in seconds: 2 by default, at most 10.
        timeout = os.environ.get("SETTLEMENT_SUBMIT_TIMEOUT_SECONDS")
        return cls(
            redis_url,
            # URL of the broker; by default the Redis of the combats.
            os.environ.get("CELERY_BROKER_URL"),
            timeout=float(timeout) if timeout else DEFAULT_TIMEOUT_SECONDS,
            # Replicas that must have a call before it is answered; by default none.
            replicas=int(os.environ.get("SETTLEMENT_SUBMIT_REPLICAS") or 0),
            remembered=Limits.from_env(),
            keys=EngineKeys.from_env(),
        )

    async def submit_combat(self, payload: Payload) -> Receipt:
        """Hand over the result of a finished combat: one Redis round trip.

        Returns ACCEPTED, or DUPLICATE for the same document again. Raises
        PayloadInvalid (nothing recorded), PayloadConflict (another document stands;
        this one is not applied) or HandoffFailed (not accepted: submit again).
        """
        sid, call = self._hand_over(payload)
        try:
            answered = await self._asend(call, self._memory.asked())
        except NotAnswered as error:
            raise HandoffFailed(str(sid), str(error)) from error
        return self._accepted(call, answered, partial(self._receipt, sid))

    def submit_combat_sync(self, payload: Payload) -> Receipt:
        """The synchronous twin of `submit_combat`."""
        sid, call = self._hand_over(payload)
        try:
            answered = self._send(call, self._memory.asked())
        except NotAnswered as error:
            raise HandoffFailed(str(sid), str(error)) from error
        return self._accepted(call, answered, partial(self._receipt, sid))

    async def start_combat(
        self,
        session_id: SessionId,
        char_ids: Iterable[int],
        teams: Mapping[int, str] | None = None,
    ) -> CombatStart:
        """Register a combat: `cs:`, `combat:active`, the players' accounts, the belts.

        Whatever else a player has open is closed and saved. A worker reserves the
        belts; the call waits for them for a quarter of the bound. Starting the same
        combat again, with all or some of its players, changes nothing: the answer says
        how it stands. Raises CombatInProgress where one of the players fights
        elsewhere, CombatRunning where one is not in this combat, CharactersUnknown
        where there is none (nobody has entered, each time), CombatFinished or
        DispatchFailed. Where no worker told in time that a character is unknown, the
        next start of the combat does.
        """
        call, sid, ids = calls.start(session_id, char_ids, teams)
        answered = await self._apromised(call)
        is_new = self._started(sid, answered.reply)
        loaded = is_new and await self._redis.await_for(
            redis_keys.belts_ready(sid), self._timeout / 4
        )
        # Read whether or not the belts came in time: an earlier start may have them.
        actors = await self._acall(calls.read_actors(sid, ids))
        started = read_start(sid, loaded, ids, actors)
        self._keep(call, answered.generation, partial(self._started, sid))
        return started

    def start_combat_sync(
        self,
        session_id: SessionId,
        char_ids: Iterable[int],
        teams: Mapping[int, str] | None = None,
    ) -> CombatStart:
        """The synchronous twin of `start_combat`."""
        call, sid, ids = calls.start(session_id, char_ids, teams)
        answered = self._promised(call)
        is_new = self._started(sid, answered.reply)
        loaded = is_new and self._redis.wait_for(
            redis_keys.belts_ready(sid), self._timeout / 4
        )
        actors = self._call(calls.read_actors(sid, ids))
        started = read_start(sid, loaded, ids, actors)
        self._keep(call, answered.generation, partial(self._started, sid))
        return started

    async def heartbeat(self, session_id: SessionId) -> bool:
        """Say that a combat still runs; False where no such combat does.

        After ten minutes without one the sweep ends it as `abandoned`.
        """
        return bool(await self._acall(calls.heartbeat(session_id)))

    def heartbeat_sync(self, session_id: SessionId) -> bool:
        """The synchronous twin of `heartbeat`."""
        return bool(self._call(calls.heartbeat(session_id)))

    async def dispatch(self, scope: SyncScope | str, *, char_id: int) -> None:
        """Have the player's state of that scope saved.

        Durable once it returns: an intent in Redis, which the sweep delivers where the
        ring is lost. Raises DispatchFailed (nothing noted) or ValueError (no scope, or
        no player).
        """
        scope = SyncScope(scope)
        call = calls.intend(scope, char_id)
        answered = await self._apromised(call)
        self._accepted(call, answered, partial(self._noted, scope, char_id))

    def dispatch_sync(self, scope: SyncScope | str, *, char_id: int) -> None:
        """The synchronous twin of `dispatch`."""
        scope = SyncScope(scope)
        call = calls.intend(scope, char_id)
        answered = self._promised(call)
        self._accepted(call, answered, partial(self._noted, scope, char_id))

    async def change_inventory(
        self, char_id: int, operations: Sequence[Operation | Document]
    ) -> None:
        """Queue inventory operations in order, and have them applied.

        Raises OperationInvalid, ItemReserved (an item of the belt in a running combat
        would be taken) or DispatchFailed; nothing is queued then. An `op_id` that was
        queued before is applied once.
        """
        call = calls.queue(char_id, operations, self._keys)
        # Strict: where Redis has lost earlier ones, these must not overtake them.
        for _ in range(MAX_TRIES):
            owed = self._memory.owed_operations(call)
            answered = await self._apromised(_behind(call, owed), strict=True)
            if self._is_queued(char_id, call, owed, answered):
                return
        raise _forgetful(call)

    def change_inventory_sync(
        self, char_id: int, operations: Sequence[Operation | Document]
    ) -> None:
        """The synchronous twin of `change_inventory`."""
        call = calls.queue(char_id, operations, self._keys)
        for _ in range(MAX_TRIES):
            owed = self._memory.owed_operations(call)
            answered = self._promised(_behind(call, owed), strict=True)
            if self._is_queued(char_id, call, owed, answered):
                return
        raise _forgetful(call)

    async def switch_context(
        self, *, char_id: int, to: GameMode | str, session_id: SessionId | None = None
    ) -> ContextSwitch:
        """The Separator: close what the player has open, open `to`, in one step.

        `IDLE` only closes. Without `session_id` a session of that mode that is open
        already goes on. Closed sessions are saved by the same Savers as an explicit
        `dispatch`. Raises CombatInProgress, DispatchFailed, or ValueError for COMBAT,
        which only `start_combat` enters.
        """
        call = calls.switch(char_id, GameMode(to), session_id)
        return self._switched(char_id, await self._apromised(call))

    def switch_context_sync(
        self, *, char_id: int, to: GameMode | str, session_id: SessionId | None = None
    ) -> ContextSwitch:
        """The synchronous twin of `switch_context`."""
        call = calls.switch(char_id, GameMode(to), session_id)
        return self._switched(char_id, self._promised(call))

    async def aclose(self) -> None:
        """Close what this event loop used, and do what `close` does."""
        await self._redis.aclose()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Look a last time for what Redis has lost, and stop the ring.

        Nothing is handed over again afterwards, unless another call is made.
        """
        self._reminder.close(self._timeout)
        self._doorbell.close(self._timeout)
        self._redis.close()

    def _hand_over(self, payload: Payload) -> tuple[UUID, Call]:
        handoff = checked(payload, self._max_document_bytes)
        signed = handoff.signed(self._keys.sign(handoff.raw))
        return handoff.session_id, calls.hand_over(signed)

    def _call(self, call: Call, asked: Asked | None = None) -> Any:
        try:
            return self._redis.run(call, asked)
        except NotAnswered as error:
            raise DispatchFailed(call.name, call.subject, str(error)) from error

    async def _acall(self, call: Call, asked: Asked | None = None) -> Any:
        try:
            return await self._redis.arun(call, asked)
        except NotAnswered as error:
            raise DispatchFailed(call.name, call.subject, str(error)) from error

    def _promised(self, call: Call, *, strict: bool = False) -> Answer:
        asked = self._memory.asked(strict=strict)
        return self._heard(asked, self._call(call, asked))

    async def _apromised(self, call: Call, *, strict: bool = False) -> Answer:
        asked = self._memory.asked(strict=strict)
        return self._heard(asked, await self._acall(call, asked))

    def _send(self, call: Call, asked: Asked) -> Answer:
        return self._heard(asked, self._redis.run(call, asked))

    def _send_all(self, calls: Sequence[Call], asked: Asked) -> list[Answer]:
        replies = self._redis.run_all(calls, asked)
        return [self._heard(asked, reply) for reply in replies]

    async def _asend(self, call: Call, asked: Asked) -> Answer:
        return self._heard(asked, await self._redis.arun(call, asked))

    def _heard(self, asked: Asked, reply: Any) -> Answer:
        answered = self._memory.hear(asked, reply)
        if answered.generation > asked.generation:
            self._reminder.wake()
        return answered

    def _accepted(
        self, call: Call, answered: Answer, read: Callable[[Any], _Read]
    ) -> _Read:
        """What the answer says; raises where it says no."""
        said = read(answered.reply)
        self._keep(call, answered.generation, read)
        return said

    def _keep(self, call: Call, generation: int, read: Callable[[Any], object]) -> None:
        if self._memory.keep(call, generation, read):
            self._reminder.wake()

    # Remembered with the call: the hand-off's parsed document is not to be.
    def _receipt(self, session_id: UUID, reply: Any) -> Receipt:
        receipt, to_ring = answer(reply)
        if to_ring:
            self._doorbell.press("settle_inbox")
        if receipt is Receipt.CONFLICT:
            raise PayloadConflict(str(session_id))
        if receipt is Receipt.FUTURE:
            raise in_the_future()
        return receipt

    def _started(self, session_id: UUID, reply: Any) -> bool:
        word, *rest = calls.texts(reply)
        if word == "busy":
            raise CombatInProgress(int(rest[0]), rest[1])
        if word == "finished":
            raise CombatFinished(str(session_id))
        if word == "running":
            raise CombatRunning(str(session_id), [int(id_) for id_ in rest])
        to_ring, *saves = rest
        if to_ring == "1":
            self._doorbell.press("assemble_belts", str(session_id))
        for mode, char_id in zip(saves[::2], saves[1::2], strict=True):
            self._ring(SyncScope(mode), int(char_id))
        return word == "started"

    def _queued(self, char_id: int, reply: Any) -> None:
        word, *rest = calls.texts(reply)
        if word == "reserved":
            raise ItemReserved(char_id, rest[0], [int(id_) for id_ in rest[1:]])
        if rest == ["1"]:
            self._ring(SyncScope.INVENTORY, char_id)

    def _is_queued(
        self, char_id: int, call: Call, owed: Sequence[Kept], answered: Answer
    ) -> bool:
        """False where it has to queue behind what was lost."""
        if answered.reply is None:
            return False
        self._accepted(call, answered, partial(self._queued, char_id))
        self._memory.handed(owed, answered.generation)
        return True

    def _noted(self, scope: SyncScope, char_id: int, reply: Any) -> None:
        """A message that is under way serves a newer note, too."""
        _, to_ring = reply
        if to_ring:
            self._ring(scope, char_id)

    def _switched(self, char_id: int, answered: Answer) -> ContextSwitch:
        word, *rest = calls.texts(answered.reply)
        if word == "busy":
            raise CombatInProgress(char_id, rest[0])
        if word == "foreign":
            raise DispatchFailed(
                "switch_context",
                f"character {char_id}",
                f"{redis_keys.account(char_id)} is neither a hash nor RedisJSON",
            )
        modes = list(map(GameMode, rest[1::3]))
        closed = dict(zip(modes, rest[2::3], strict=True))
        for mode, to_ring in zip(modes, rest[3::3], strict=True):
            scope = SyncScope(mode)
            if to_ring == "1":
                self._ring(scope, char_id)
            # Said again, the switch itself might close what was opened since.
            save = calls.intend(scope, char_id)
            read = partial(self._noted, scope, char_id)
            self._keep(save, answered.generation, read)
        opened = UUID(rest[0]) if rest[0] else None
        return ContextSwitch(opened, word == "switched", closed)

    def _ring(self, scope: SyncScope, char_id: int) -> None:
        self._doorbell.press("task_sync_state", str(scope), char_id)


def _behind(call: Call, owed: Sequence[Kept]) -> Call:
    return calls.behind(call, [kept.call for kept in owed])


def _forgetful(call: Call) -> DispatchFailed:
    return DispatchFailed(call.name, call.subject, "Redis loses what it is told")
