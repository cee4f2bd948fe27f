"""The engine's line to Redis and the workers: runs steps, remembers, rings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from persistence.contract.errors import (
    DispatchFailed,
    HandoffFailed,
    PersistenceError,
)
from persistence.engine.calls import Call
from persistence.engine.doorbell import Bell
from persistence.engine.redis import Asked, EngineRedis, NotAnswered
from persistence.engine.remembered import Answer, Limits, Memory, Reminder
from persistence.engine.steps import Ask, Steps, Wait

_Told = TypeVar("_Told")

_HAND_OVERS = {"submit_combat", "finish_combat"}
"""Calls whose failure is a HandoffFailed."""


class Line:
    """Usable from several threads and event loops; SyncDispatcher says its bounds."""

    def __init__(
        self, redis: EngineRedis, doorbell: Bell, timeout: float, limits: Limits
    ) -> None:
        self._timeout = timeout
        self._doorbell = doorbell
        self._redis = redis
        self.memory = Memory(limits)
        self._reminder = Reminder(self.memory, self._send_all)

    def run(self, steps: Steps[_Told]) -> _Told:
        """Raises what the steps do; without Redis HandoffFailed or DispatchFailed."""
        answer: object = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                told: _Told = done.value
                return told
            answer = self._wait(step) if isinstance(step, Wait) else self._ask(step)

    async def arun(self, steps: Steps[_Told]) -> _Told:
        """The asynchronous twin of `run`."""
        answer: object = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                told: _Told = done.value
                return told
            if isinstance(step, Wait):
                answer = await self._redis.await_for(step.key, self._timeout / 4)
            else:
                answer = await self._aask(step)

    def accepted(
        self, call: Call, answered: Answer, read: Callable[[Any], _Told]
    ) -> _Told:
        """What the answer says; raises where it says no. Remembers the call."""
        told = read(answered.reply)
        self.keep(call, answered.generation, read)
        return told

    def keep(self, call: Call, generation: int, read: Callable[[Any], object]) -> None:
        if self.memory.keep(call, generation, read):
            self._reminder.wake()

    def press(self, task: str, *args: str | int) -> None:
        self._doorbell.press(task, *args)

    def ask_for_save(self, scope: str, char_id: int) -> None:
        self._doorbell.press("task_sync_state", str(scope), char_id)

    async def aclose(self) -> None:
        """Close what this event loop used, and do what `close` does."""
        await self._redis.aclose()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Look a last time for what Redis has lost, and stop the ring."""
        self._reminder.close(self._timeout)
        self._doorbell.close(self._timeout)
        self._redis.close()

    def _wait(self, step: Wait) -> bool:
        return self._redis.wait_for(step.key, self._timeout / 4)

    def _ask(self, step: Ask) -> Answer:
        asked = self._asked(step)
        try:
            return self._heard(asked, self._redis.run(step.call, asked))
        except NotAnswered as error:
            raise _not_confirmed(step.call, error) from error

    async def _aask(self, step: Ask) -> Answer:
        asked = self._asked(step)
        try:
            return self._heard(asked, await self._redis.arun(step.call, asked))
        except NotAnswered as error:
            raise _not_confirmed(step.call, error) from error

    def _asked(self, step: Ask) -> Asked | None:
        return self.memory.asked(strict=step.strict) if step.call.promises else None

    def _send_all(self, calls: Sequence[Call], asked: Asked) -> list[Answer]:
        replies = self._redis.run_all(calls, asked)
        return [self._heard(asked, reply) for reply in replies]

    def _heard(self, asked: Asked | None, reply: Any) -> Answer:
        if asked is None:
            return Answer(reply, 0)
        answered = self.memory.hear(asked, reply)
        if answered.generation > asked.generation:
            self._reminder.wake()
        return answered


def _not_confirmed(call: Call, error: NotAnswered) -> PersistenceError:
    if call.name in _HAND_OVERS:
        return HandoffFailed(call.combat, str(error))
    return DispatchFailed(call.name, call.subject, str(error))
