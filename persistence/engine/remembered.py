"""The dispatcher's memory of accepted calls that no worker has done yet.

Emptied, failed over to an older replica or restarted from an older file, Redis has lost
what it acknowledged shortly before. Each call that promises something therefore gets a
number, counted in Redis by a counter of the dispatcher's own: one that is not above all
that were given before it was sent tells of a loss, and so does another epoch. A thread
then hands over again what the caller was promised, in its order, which is harmless
where nothing was lost. After a minute the thread asks Redis what is done by now: that
is forgotten, for PostgreSQL has it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import uuid4

from persistence.contract import redis_keys
from persistence.contract.errors import PersistenceError
from persistence.engine import calls
from persistence.engine.calls import Call
from persistence.engine.redis import Asked, NotAnswered

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How soon a loss is noticed where no call is made: what is remembered has to be asked
for before it is too old."""

AT_ONCE, BYTES_AT_ONCE = 50, 1024 * 1024
"""Calls and bytes handed over again in one round trip: thousands may be lost, and
until they are known again their players are told of no fight."""

LOOKED_AT_ONCE = 1000
"""Calls that one look asks about."""

OVERHEAD_BYTES = 1000
"""About what a call's own objects and keys take."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the memory. A call is kept for so many `seconds` and then until it is
    done, but never more than these calls and bytes; the oldest goes first. No seconds:
    nothing is kept."""

    seconds: float = 60.0
    calls: int = 10_000
    size: int = 64 * 1024 * 1024

    @classmethod
    def from_env(cls) -> Limits:
        """From SETTLEMENT_REMEMBER_SECONDS, _CALLS and _BYTES."""
        usual = cls()
        return cls(
            # How long an accepted call is remembered at least, to be handed over again
            # should Redis lose it; longer where it is not done by then. 60 by default,
            # 0: nothing is remembered.
            float(os.environ.get("SETTLEMENT_REMEMBER_SECONDS") or usual.seconds),
            # Calls that are remembered at most; 10 000 by default.
            int(os.environ.get("SETTLEMENT_REMEMBER_CALLS") or usual.calls),
            # Bytes that are remembered at most; 64 MiB by default.
            int(os.environ.get("SETTLEMENT_REMEMBER_BYTES") or usual.size),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """`reply` is None where a strict call was not executed, for something was lost."""

    reply: Any
    generation: int


@dataclass(slots=True)
class Kept:
    """`at`: since when Redis has not been asked whether it is done."""

    key: Key
    call: Call
    read: Callable[[Any], object]
    generation: int
    at: float
    size: int


class Memory:
    """Thread-safe, bounded; it knows nothing of connections."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counter = redis_keys.engine(uuid4().hex)
        self._lock = threading.Lock()
        self._kept: dict[Key, Kept] = {}
        self._of_combat: dict[str, dict[Key, None]] = {}
        self._size = 0
        self._made = 0
        self._generation = 0
        self._owes = False
        self._number = 0
        self._epoch: bytes | None = None
        self._heard_at = float("-inf")
        self._warned_at = float("-inf")

    def __bool__(self) -> bool:
        return bool(self._kept)

    def asked(self, *, strict: bool = False) -> Asked:
        """For a call that is about to be sent.

        A strict one is not executed where something was lost.
        """
        with self._lock:
            # Whoever remembers nothing has nothing to lose.
            number = self._number if self._kept else 0
            generation = self._generation
        return Asked(self._counter, number, strict, generation, time.monotonic())

    def hear(self, asked: Asked, reply: Sequence[Any]) -> Answer:
        epoch, number, *answer = reply
        with self._lock:
            generation = asked.generation
            if generation == self._generation:
                # A call that nobody waited for any more may have counted late.
                was_emptied = self._epoch not in (None, epoch) and bool(self._kept)
                if number <= asked.number or was_emptied:
                    self._lost(epoch)
                self._epoch = epoch
                self._heard_at = max(self._heard_at, asked.at)
                self._number = max(self._number, number)
                generation = self._generation
        return Answer(answer[0] if answer else None, generation)

    def keep(self, call: Call, generation: int, read: Callable[[Any], object]) -> bool:
        """Remember a call that was answered; `read` is for the answer to come.

        Returns whether there is something to look after that was not before.
        """
        if not self._limits.seconds:
            return False
        texts = [len(arg) for arg in call.args if type(arg) in (bytes, str)]
        size = OVERHEAD_BYTES + sum(texts)
        with self._lock:
            if call.ends:
                for key in list(self._of_combat.get(call.combat, ())):
                    self._drop(key)
            is_first = not self._kept
            self._made += 1
            key = call.identity or (str(self._made),)
            self._drop(key)
            self._put(Kept(key, call, read, generation, time.monotonic(), size))
            self._keep_bounds()
            # Answered before a loss that another thread has heard of meanwhile.
            is_late = generation < self._generation
            self._owes |= is_late
        return is_first or is_late

    def knows(self, call: Call) -> bool:
        """Whether a call of that identity is remembered."""
        return call.identity in self._kept

    def owed(self) -> list[Kept]:
        """What may be lost, oldest first."""
        with self._lock:
            if not self._owes:
                return []
            found = [k for k in self._kept.values() if k.generation < self._generation]
            self._owes = bool(found)
            return found

    def owed_operations(self, call: Call) -> list[Kept]:
        """What is owed of the player that `call` queues operations for."""
        return [k for k in self.owed() if _is_like(k.call, call)]

    def handed(self, kept: Sequence[Kept], generation: int) -> None:
        with self._lock:
            for one in kept:
                one.generation, one.at = generation, time.monotonic()

    def old(self) -> list[Kept]:
        """What may be done by now, oldest first; no more than one look asks about."""
        until = time.monotonic() - self._limits.seconds
        with self._lock:
            found = (
                kept
                for kept in self._kept.values()
                if kept.at < until and kept.generation == self._generation
            )
            return list(islice(found, LOOKED_AT_ONCE))

    def looked(self, old: Sequence[Kept], answer: Answer) -> None:
        """Forget what is done, unless this very answer tells of a loss."""
        with self._lock:
            if answer.generation != self._generation:
                return
            for kept, is_waiting in zip(old, answer.reply, strict=True):
                if kept.generation != self._generation:
                    continue
                if is_waiting:
                    kept.at = time.monotonic()
                elif self._kept.get(kept.key) is kept:
                    self._drop(kept.key)
            if not self._kept:
                # Nothing to lose: a counter that expires from now on is no loss.
                self._number = 0

    def was_heard_lately(self) -> bool:
        return time.monotonic() - self._heard_at < LOOK_SECONDS

    def _lost(self, epoch: bytes) -> None:
        self._generation += 1
        self._owes = True
        self._number = 0
        logger.warning(
            "Redis has lost what it told; it is handed over again",
            extra={"calls": len(self._kept), "epoch": epoch.decode()},
        )

    def _keep_bounds(self) -> None:
        while len(self._kept) > self._limits.calls or self._size > self._limits.size:
            self._drop(next(iter(self._kept)))
            if time.monotonic() - self._warned_at > self._limits.seconds:
                self._warned_at = time.monotonic()
                logger.warning("more is accepted than can be remembered for a minute")

    def _put(self, kept: Kept) -> None:
        self._kept[kept.key] = kept
        self._size += kept.size
        if kept.call.combat and not kept.call.ends:
            self._of_combat.setdefault(kept.call.combat, {})[kept.key] = None

    def _drop(self, key: Key) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is None:
            return
        self._size -= dropped.size
        of_combat = self._of_combat.get(dropped.call.combat, {})
        of_combat.pop(key, None)
        if not of_combat:
            self._of_combat.pop(dropped.call.combat, None)


class Reminder:
    """A daemon thread that looks for losses and hands over again; never raises."""

    def __init__(
        self, memory: Memory, send: Callable[[Sequence[Call], Asked], list[Answer]]
    ) -> None:
        self._memory = memory
        self._send = send
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False

    def wake(self) -> None:
        """There is something to look after, or something was lost."""
        # Started on first use, so that a dispatcher made before a fork works after it.
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._closing = False
                self._thread = threading.Thread(
                    target=self._look_for_ever, name="reminder", daemon=True
                )
                self._thread.start()
        self._wake.set()

    def close(self, timeout: float) -> None:
        """A last look, within `timeout` seconds. What is remembered stays so."""
        self._closing = True
        thread = self._thread
        if thread is not None:
            self._wake.set()
            thread.join(timeout)

    def _look_for_ever(self) -> None:
        while True:
            self._wake.wait(LOOK_SECONDS if self._memory else None)
            self._wake.clear()
            is_last = self._closing
            self._look(is_last)
            if is_last:
                return

    def _look(self, is_last: bool) -> None:
        try:
            self._look_at_old(is_last)
            # Once more for what was lost meanwhile; the rest is left to the next look.
            for _ in range(2):
                self._hand_over_again()
        except NotAnswered as error:
            logger.warning("not handed over again yet: %s", error)

    def _look_at_old(self, is_last: bool) -> None:
        while old := self._memory.old():
            self._ask_about(old)
        if self._memory and (is_last or not self._memory.was_heard_lately()):
            self._ask_about([])

    def _ask_about(self, old: Sequence[Kept]) -> None:
        asked = self._memory.asked()
        (answer,) = self._send([calls.look([kept.call for kept in old])], asked)
        self._memory.looked(old, answer)

    def _hand_over_again(self) -> None:
        for groups in _round_trips(_by_player(self._memory.owed())):
            again = [calls.again([one.call for one in kept]) for kept in groups]
            answers = self._send(again, self._memory.asked())
            for kept, answer in zip(groups, answers, strict=True):
                self._memory.handed(kept, answer.generation)
                _read(kept[-1], answer)


def _read(kept: Kept, answer: Answer) -> None:
    try:
        kept.read(answer.reply)
    except PersistenceError as error:
        logger.warning("handed over again, and refused: %s", error)


def _by_player(owed: Sequence[Kept]) -> list[list[Kept]]:
    """Operations of one player go together, in their order; all else alone."""
    groups: dict[object, list[Kept]] = {}
    for number, kept in enumerate(owed):
        is_queued = kept.call.script == calls.QUEUE
        groups.setdefault(kept.call.subject if is_queued else number, []).append(kept)
    return list(groups.values())


def _round_trips(groups: Sequence[list[Kept]]) -> Iterator[list[list[Kept]]]:
    together: list[list[Kept]] = []
    size = 0
    for group in groups:
        together.append(group)
        size += sum(kept.size for kept in group)
        if len(together) == AT_ONCE or size > BYTES_AT_ONCE:
            yield together
            together, size = [], 0
    if together:
        yield together


def _is_like(kept: Call, call: Call) -> bool:
    return kept.script == call.script and kept.subject == call.subject
