"""SyncDispatcher: the engine's one door. No Django, no blocking of the event loop.

What a call asked for is noted in Redis when it returns, in one round trip; the workers
are rung off the caller's path. On HandoffFailed or DispatchFailed nothing is promised:
the same call again is harmless.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import (
    AsyncGenerator,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)

from persistence.contract.changes import Changes
from persistence.contract.document import MAX_DOCUMENT_BYTES, Document
from persistence.contract.events import Event
from persistence.contract.operate import OperationAnswer
from persistence.contract.operations import Operation
from persistence.contract.payload import CombatResultPayload
from persistence.contract.signing import NO_KEYS, EngineKeys
from persistence.engine import combat_steps, save_steps
from persistence.engine.answers import CombatStart, ContextSwitch
from persistence.engine.api import Api, Operates, operation
from persistence.engine.calls import SessionId
from persistence.engine.doorbell import Doorbell
from persistence.engine.ending import Ending, Outcome
from persistence.engine.events import Feed, reading
from persistence.engine.handoff import Receipt, checked
from persistence.engine.line import Line
from persistence.engine.redis import EngineRedis
from persistence.engine.remembered import Limits
from persistence.engine.steps import Steps
from persistence.protocols import GameMode, SyncScope, mode_of, scope_of

DEFAULT_TIMEOUT_SECONDS = 2.0
MAX_TIMEOUT_SECONDS = 10.0

Payload = CombatResultPayload | Document | str | bytes


class SyncDispatcher:
    """Hands over and asks for saves, asynchronously or from synchronous code.

    `timeout` bounds every call, connecting and one reconnect included. Usable from
    several threads and event loops. `replicas`: a call is answered only once that
    many replicas of Redis have what it asked for; heartbeats, soon followed by the next
    one, do not wait. `remembered` bounds what is handed over again where Redis loses
    it. `keys`: the first signs whatever is handed over. `api`: `operate` asks it.
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
        api: Operates | None = None,
    ) -> None:
        if not 0 < timeout <= MAX_TIMEOUT_SECONDS:
            raise ValueError(f"timeout: above 0, at most {MAX_TIMEOUT_SECONDS}")
        self._max_document_bytes = max_document_bytes
        self._keys = keys
        self._api = api
        limits = remembered or Limits()
        redis = EngineRedis(redis_url, timeout, replicas)
        doorbell = Doorbell(broker_url or redis_url)
        self._line = Line(redis, doorbell, timeout, limits)
        self._feed = Feed(redis_url, timeout)

    @classmethod
    def from_env(cls) -> SyncDispatcher:
        """By the variables of the engine's side: docs/reference/settings.md."""
        # URL of the Redis of the combats; must be set.
        redis_url = os.environ.get("REDIS_URL")
        if not redis_url:
            raise ValueError("REDIS_URL is not set: it names the Redis of the combats")
        # Bound of every call in seconds: 2 by default, at most 10.
        told = os.environ.get("SETTLEMENT_SUBMIT_TIMEOUT_SECONDS")
        timeout = float(told) if told else DEFAULT_TIMEOUT_SECONDS
        return cls(
            redis_url,
            # URL of the broker; by default the Redis of the combats.
            os.environ.get("CELERY_BROKER_URL"),
            timeout=timeout,
            # Replicas that must have a call before it is answered; by default none.
            replicas=int(os.environ.get("SETTLEMENT_SUBMIT_REPLICAS") or 0),
            remembered=Limits.from_env(),
            keys=EngineKeys.from_env(),
            api=Api.from_env(timeout),
        )

    async def submit_combat(self, payload: Payload) -> Receipt:
        """Hand over the result of a finished combat: one Redis round trip.

        Returns ACCEPTED, or DUPLICATE for the same document again. Raises
        PayloadInvalid (nothing recorded), PayloadConflict (another document stands;
        this one is not applied) or HandoffFailed (not accepted: submit again).
        """
        return await self._line.arun(self._submit(payload))

    def submit_combat_sync(self, payload: Payload) -> Receipt:
        """The synchronous twin of `submit_combat`."""
        return self._line.run(self._submit(payload))

    async def finish_combat(self, session_id: SessionId, outcome: Outcome) -> Receipt:
        """Hand over the result of a combat that was started: two Redis round trips.

        `outcome` is a result payload that may leave out what Redis knows: session,
        end (now), every player of the roster with team, vitals and what `use_item` has
        counted; who wins is whose team does. Players who have left are in it, too.
        The same outcome again finds the document that was made of it, for a day. Raises
        as `submit_combat` does, and CombatNotRegistered where Redis knows no such
        combat.
        """
        return await self._line.arun(self._finish(session_id, outcome))

    def finish_combat_sync(self, session_id: SessionId, outcome: Outcome) -> Receipt:
        """The synchronous twin of `finish_combat`."""
        return self._line.run(self._finish(session_id, outcome))

    async def start_combat(
        self,
        session_id: SessionId,
        char_ids: Iterable[int],
        teams: Mapping[int, str | None] | None = None,
    ) -> CombatStart:
        """Register a combat: `cs:`, `combat:active`, the players' accounts, the belts.

        Whatever else a player has open is closed and saved. A worker reserves the
        belts; the call waits for them for a quarter of the bound, and `belts` of the
        answer says what came of it. Starting the same combat again, with all or some of
        its players, changes nothing, waits again where the belts are late, and tells
        how it stands. Raises CombatInProgress where one of the players fights
        elsewhere, CombatRunning where one is not in this combat, CharactersUnknown
        where there is none (nobody has entered, each time), CombatFinished or
        DispatchFailed. Where no worker told in time that a character is unknown, the
        next start of the combat does.
        """
        steps = combat_steps.start(self._line, session_id, char_ids, teams)
        return await self._line.arun(steps)

    def start_combat_sync(
        self,
        session_id: SessionId,
        char_ids: Iterable[int],
        teams: Mapping[int, str | None] | None = None,
    ) -> CombatStart:
        """The synchronous twin of `start_combat`."""
        steps = combat_steps.start(self._line, session_id, char_ids, teams)
        return self._line.run(steps)

    async def join(
        self, session_id: SessionId, teams: Mapping[int, str | None]
    ) -> CombatStart:
        """Let players into a combat that goes on, by their teams; how they stand in it.

        As if they had been there at the start: all of them enter or none does, and
        their belts are waited for. Who is in it already stays as he is; who had left
        comes back with what he had not used. Raises CombatInProgress,
        CharactersUnknown (those are not in it), CombatFinished, CombatNotRegistered or
        DispatchFailed.
        """
        return await self._line.arun(combat_steps.join(self._line, session_id, teams))

    def join_sync(
        self, session_id: SessionId, teams: Mapping[int, str | None]
    ) -> CombatStart:
        """The synchronous twin of `join`."""
        return self._line.run(combat_steps.join(self._line, session_id, teams))

    async def leave(self, session_id: SessionId, char_id: int) -> None:
        """Let a player out of a combat that goes on: free for another one at once.

        What he has used up is settled with the combat, and what he has not is his again
        as soon as a worker has seen it. Leaving twice is leaving once. Raises
        NotInCombat, CombatFinished, CombatNotRegistered or DispatchFailed.
        """
        await self._line.arun(combat_steps.leave(self._line, session_id, char_id))

    def leave_sync(self, session_id: SessionId, char_id: int) -> None:
        """The synchronous twin of `leave`."""
        self._line.run(combat_steps.leave(self._line, session_id, char_id))

    async def use_item(
        self, session_id: SessionId, char_id: int, inventory_id: int, use_id: str
    ) -> int:
        """Use one piece of an item on the belt; how many are left on it.

        The belt in `cs:` has one less and `consumed` one more, in one step, once by
        `use_id`: the same call again is answered as the first one was. Raises
        ItemSpent, ItemNotOnBelt, UseIdReused, NotInCombat, CombatFinished,
        CombatNotRegistered or DispatchFailed.
        """
        steps = combat_steps.use_item(
            self._line, session_id, char_id, inventory_id, use_id
        )
        return await self._line.arun(steps)

    def use_item_sync(
        self, session_id: SessionId, char_id: int, inventory_id: int, use_id: str
    ) -> int:
        """The synchronous twin of `use_item`."""
        steps = combat_steps.use_item(
            self._line, session_id, char_id, inventory_id, use_id
        )
        return self._line.run(steps)

    async def heartbeat(self, session_id: SessionId) -> bool:
        """Say that a combat still runs; False where no such combat does.

        After ten minutes without one the sweep ends it as `abandoned`.
        """
        return await self._line.arun(combat_steps.heartbeat(session_id))

    def heartbeat_sync(self, session_id: SessionId) -> bool:
        """The synchronous twin of `heartbeat`."""
        return self._line.run(combat_steps.heartbeat(session_id))

    async def dispatch(self, scope: SyncScope | str, *, char_id: int) -> None:
        """Have the player's state of that scope saved, also of one of the game's own.

        Durable once it returns: an intent in Redis, which the sweep delivers where the
        ring is lost. Raises DispatchFailed (nothing noted) or ValueError (no scope, or
        no player).
        """
        steps = save_steps.dispatch(self._line, scope_of(scope), char_id)
        await self._line.arun(steps)

    def dispatch_sync(self, scope: SyncScope | str, *, char_id: int) -> None:
        """The synchronous twin of `dispatch`."""
        self._line.run(save_steps.dispatch(self._line, scope_of(scope), char_id))

    async def change_inventory(
        self, char_id: int, operations: Sequence[Operation | Document]
    ) -> None:
        """Queue inventory operations in order, and have them applied.

        Raises OperationInvalid, ItemReserved (an item of the belt in a running combat
        would be taken) or DispatchFailed; nothing is queued then. An `op_id` that was
        queued before is applied once.
        """
        steps = save_steps.change_inventory(self._line, char_id, operations, self._keys)
        await self._line.arun(steps)

    def change_inventory_sync(
        self, char_id: int, operations: Sequence[Operation | Document]
    ) -> None:
        """The synchronous twin of `change_inventory`."""
        steps = save_steps.change_inventory(self._line, char_id, operations, self._keys)
        self._line.run(steps)

    async def switch_context(
        self, *, char_id: int, to: GameMode | str, session_id: SessionId | None = None
    ) -> ContextSwitch:
        """The Separator: close what the player has open, open `to`, in one step.

        `IDLE` only closes. Without `session_id` a session of that mode that is open
        already goes on. Closed sessions are saved by the same Savers as an explicit
        `dispatch`. Raises CombatInProgress, DispatchFailed, or ValueError for COMBAT,
        which only `start_combat` and `join` enter.
        """
        steps = save_steps.switch_context(self._line, char_id, mode_of(to), session_id)
        return await self._line.arun(steps)

    def switch_context_sync(
        self, *, char_id: int, to: GameMode | str, session_id: SessionId | None = None
    ) -> ContextSwitch:
        """The synchronous twin of `switch_context`."""
        steps = save_steps.switch_context(self._line, char_id, mode_of(to), session_id)
        return self._line.run(steps)

    async def operate(
        self, op_id: str, changes: Mapping[int, Changes | Document], *, reason: str
    ) -> OperationAnswer:
        """Apply changes of one character or several now, in one transaction, over HTTP.

        All of it or nothing, once by its `op_id` for ever; tells what every character
        has after it. Raises PayloadInvalid or OperationRefused (nothing was applied),
        OperationConflict (another operation was, under that name), OperationUnanswered
        (nobody knows: call again), ValueError where no API was named.
        """
        return await self._asked().operate(operation(op_id, changes, reason))

    def operate_sync(
        self, op_id: str, changes: Mapping[int, Changes | Document], *, reason: str
    ) -> OperationAnswer:
        """The synchronous twin of `operate`."""
        return self._asked().operate_sync(operation(op_id, changes, reason))

    def _asked(self) -> Operates:
        if self._api is None:
            raise ValueError(
                "operate asks the HTTP API: set SETTLEMENT_API_URL and"
                " SETTLEMENT_API_TOKEN, or give `api`"
            )
        return self._api

    def events(
        self, group: str, consumer: str, *, reclaim_seconds: float = 60
    ) -> AsyncGenerator[Event, None]:
        """What became true, for ever: `async for event in dispatcher.events(…)`.

        Every event goes to one consumer of each group, at least once: remember ids. It
        is acknowledged when the loop asks for the next one, that is, when its body has
        ended; one whose body raised, or was left, is told again: to this consumer at
        its next start, or to another one after `reclaim_seconds`. Ten are taken at a
        time: their bodies together have to end before that. In order where a group has
        one consumer. Waits out whatever happens to Redis. A new group begins with the
        oldest event that the stream still has.
        """
        return self._feed.arun(reading(group, consumer, reclaim_seconds))

    def events_sync(
        self, group: str, consumer: str, *, reclaim_seconds: float = 60
    ) -> Generator[Event, None, None]:
        """The synchronous twin of `events`."""
        return self._feed.run(reading(group, consumer, reclaim_seconds))

    async def aclose(self) -> None:
        """Close what this event loop used, and do what `close` does."""
        await self._line.aclose()
        if self._api is not None:
            await asyncio.to_thread(self._api.close)

    def close(self) -> None:
        """Look a last time for what Redis has lost, and stop the ring.

        Nothing is handed over again afterwards, unless another call is made.
        """
        self._line.close()
        if self._api is not None:
            self._api.close()

    def _submit(self, payload: Payload) -> Steps[Receipt]:
        handoff = checked(payload, self._max_document_bytes)
        return combat_steps.submit(
            self._line, handoff.signed(self._keys.sign(handoff.raw))
        )

    def _finish(self, session_id: SessionId, outcome: Outcome) -> Steps[Receipt]:
        ending = Ending.of(session_id, outcome, self._keys, self._max_document_bytes)
        return combat_steps.finish(self._line, ending)
