"""Says that worker and beat are alive: from the worker's event loop, and at each tick.

To this machine by a file, to the others by Redis. Not a thread: it would go on while
the loop that takes messages stands still. And a worker that takes from its queues no
more, whatever made it stop, is not heard either.
"""

from __future__ import annotations

import signal
import threading
import time
from functools import cached_property
from types import FrameType
from typing import Any

from celery import bootsteps
from celery.beat import Scheduler

from persistence.worker import heartbeat, presence


class Voice:
    """One process of a kind, heard at most as often as somebody listens."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._said: float | None = None
        heartbeat.begin(kind)

    def alive(self) -> None:
        heartbeat.touch(self._kind)
        now = time.monotonic()
        if self._said is None or now - self._said >= presence.SAY_SECONDS:
            self._said = now
            presence.say(self._kind)

    def end(self) -> None:
        heartbeat.end(self._kind)
        presence.end(self._kind)


class WorkerHeartbeat(bootsteps.StartStopStep):
    """A step of the worker: heard from the timer of its main process."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._repeated: Any = None
        self._queues: list[str] = []
        self._voice: Voice | None = None

    def start(self, parent: Any) -> None:
        self._voice = Voice("worker")
        # Of now: who cancels a queue takes it out of the list, too.
        self._queues = list(parent.app.amqp.queues.consume_from)
        self._repeated = parent.timer.call_repeatedly(
            heartbeat.TOUCH_SECONDS, self._touch, (parent,)
        )

    def stop(self, parent: Any) -> None:
        if self._repeated is not None:
            self._repeated.cancel()
            self._repeated = None
        if self._voice is not None:
            self._voice.end()

    def _touch(self, parent: Any) -> None:
        taking = getattr(parent.consumer, "task_consumer", None)
        is_taking = taking and all(map(taking.consuming_from, self._queues))
        if self._voice is not None and is_taking:
            self._voice.alive()


class BeatScheduler(Scheduler):
    """Beat's schedule in memory: intervals of seconds need no file of the last run."""

    _listens = False
    _is_told_to_stop = False

    @cached_property
    def _voice(self) -> Voice:
        return Voice("beat")

    def tick(self, *args: Any, **options: Any) -> Any:
        if not self._listens:
            self._listen()
        if self._is_told_to_stop:
            raise SystemExit
        self._voice.alive()
        return super().tick(*args, **options)

    def close(self) -> None:
        self._voice.end()
        super().close()

    def _listen(self) -> None:
        """Remember SIGTERM beside Celery's handler.

        That one raises SystemExit, which Python makes an error of its own where a class
        is being made: beat would send on until it is killed.
        """
        self._listens = True
        handler = signal.getsignal(signal.SIGTERM)
        # Embedded in a worker, beat has none, or is a thread of it.
        if not callable(handler) or threading.current_thread() is not (
            threading.main_thread()
        ):
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self._is_told_to_stop = True
            handler(number, frame)

        signal.signal(signal.SIGTERM, stop)
