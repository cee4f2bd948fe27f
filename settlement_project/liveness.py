"""Touches the heartbeat files: from the worker's event loop, and at each tick of beat.

Not a thread: it would go on while the loop that takes messages stands still. And a
worker that takes from its queues no more, whatever made it stop, is not heard either.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from celery import bootsteps
from celery.beat import Scheduler

from persistence.worker import heartbeat


class WorkerHeartbeat(bootsteps.StartStopStep):
    """A step of the worker: touches its file from the timer of its main process."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._repeated: Any = None
        self._queues: list[str] = []

    def include_if(self, parent: Any) -> bool:
        return heartbeat.folder() is not None

    def start(self, parent: Any) -> None:
        heartbeat.begin("worker")
        # Of now: who cancels a queue takes it out of the list, too.
        self._queues = list(parent.app.amqp.queues.consume_from)
        self._repeated = parent.timer.call_repeatedly(
            heartbeat.TOUCH_SECONDS, self._touch, (parent,)
        )

    def stop(self, parent: Any) -> None:
        if self._repeated is not None:
            self._repeated.cancel()
            self._repeated = None
        heartbeat.end("worker")

    def _touch(self, parent: Any) -> None:
        taking = getattr(parent.consumer, "task_consumer", None)
        if taking is not None and all(map(taking.consuming_from, self._queues)):
            heartbeat.touch("worker")


class BeatScheduler(Scheduler):
    """Beat's schedule in memory: intervals of seconds need no file of the last run."""

    _listens = False
    _is_told_to_stop = False

    def setup_schedule(self) -> None:
        super().setup_schedule()
        heartbeat.begin("beat")

    def tick(self, *args: Any, **options: Any) -> Any:
        if not self._listens:
            self._listen()
        if self._is_told_to_stop:
            raise SystemExit
        heartbeat.touch("beat")
        return super().tick(*args, **options)

    def close(self) -> None:
        heartbeat.end("beat")
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
