"""What can go wrong between an engine and what it calls, by switches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic_core import from_json

from persistence.contract.document import parse_document
from persistence.contract.errors import OperationUnanswered
from persistence.contract.operate import Operation, OperationAnswer
from persistence.engine import combat_calls
from persistence.engine.calls import HAND_OFF, Call
from persistence.engine.handoff import unchecked
from persistence.engine.redis import Asked, EngineRedis, NotAnswered
from persistence.testing.books import Books


class Faults:
    """Each of them lasts for a `with` block, in which the others may be, too."""

    def __init__(self) -> None:
        self.is_redis_down = self.is_api_down = False
        self.is_answer_lost = self.is_contested = False
        self.has_workers = True
        self.delay = 0.0

    def redis_down(self) -> Any:
        """Redis takes no call; `operate` does not ask it."""
        return self._set(is_redis_down=True)

    def api_down(self) -> Any:
        """The HTTP API takes no call: `operate` is not answered."""
        return self._set(is_api_down=True)

    def answers_lost(self) -> Any:
        """Every call is done, and its answer lost: the caller cannot know."""
        return self._set(is_answer_lost=True)

    def slow(self, seconds: float) -> Any:
        """Answers take so long; beyond the bound of a call they come too late."""
        return self._set(delay=seconds)

    def conflict(self) -> Any:
        """Somebody else comes first with another result, or operation, of that name."""
        return self._set(is_contested=True)

    def no_workers(self) -> Any:
        """Nobody loads belts: `start_combat` says that they are late."""
        return self._set(has_workers=False)

    def seconds(self, bound: float) -> float:
        """How long an answer is to be waited for."""
        return min(self.delay, bound)

    def loses(self, bound: float) -> bool:
        return self.is_answer_lost or self.delay >= bound

    @contextmanager
    def _set(self, **switches: Any) -> Iterator[None]:
        before = {name: getattr(self, name) for name in switches}
        vars(self).update(switches)
        try:
            yield
        finally:
            vars(self).update(before)


class FaultyRedis(EngineRedis):
    """The engine's way to Redis, on which the faults lie."""

    def __init__(self, url: str, timeout: float, faults: Faults) -> None:
        super().__init__(url, timeout)
        self._bound = timeout
        self._faults = faults

    def run(self, call: Call, asked: Asked | None = None) -> Any:
        self._refuse()
        if self._faults.is_contested and call.script == HAND_OFF:
            super().run(_rival(call))
        reply = super().run(call, asked)
        time.sleep(self._faults.seconds(self._bound))
        return self._heard(reply)

    async def arun(self, call: Call, asked: Asked | None = None) -> Any:
        self._refuse()
        if self._faults.is_contested and call.script == HAND_OFF:
            await super().arun(_rival(call))
        reply = await super().arun(call, asked)
        await asyncio.sleep(self._faults.seconds(self._bound))
        return self._heard(reply)

    def run_all(self, calls: Any, asked: Asked) -> list[Any]:
        self._refuse()
        return super().run_all(calls, asked)

    def _refuse(self) -> None:
        if self._faults.is_redis_down:
            raise NotAnswered("Redis is down, by the test's switch")

    def _heard(self, reply: Any) -> Any:
        if self._faults.loses(self._bound):
            raise NotAnswered("the answer is lost, by the test's switch")
        return reply


class FaultyApi:
    """The HTTP API, on which the faults lie: the books themselves."""

    def __init__(self, books: Books, timeout: float, faults: Faults) -> None:
        self._books = books
        self._bound = timeout
        self._faults = faults

    async def operate(self, asked: Operation) -> OperationAnswer:
        answer = self._applied(asked)
        await asyncio.sleep(self._faults.seconds(self._bound))
        return self._heard(asked, answer)

    def operate_sync(self, asked: Operation) -> OperationAnswer:
        answer = self._applied(asked)
        time.sleep(self._faults.seconds(self._bound))
        return self._heard(asked, answer)

    def close(self) -> None:
        """Nothing is open."""

    def _applied(self, asked: Operation) -> OperationAnswer:
        if self._faults.is_api_down:
            raise OperationUnanswered(asked.op_id, "down, by the test's switch")
        if self._faults.is_contested:
            other = {**from_json(asked.text), "reason": "somebody else's"}
            self._books.operate(Operation.read(other))
        return self._books.operate(asked)

    def _heard(self, asked: Operation, answer: OperationAnswer) -> OperationAnswer:
        if self._faults.loses(self._bound):
            raise OperationUnanswered(asked.op_id, "lost, by the test's switch")
        return answer


def _rival(call: Call) -> Call:
    """The same hand-off of another document of its session."""
    document = parse_document(call.args[1])
    other = unchecked({**document, "handed_over_by": "somebody else"})
    return combat_calls.hand_over(call.name, other)
