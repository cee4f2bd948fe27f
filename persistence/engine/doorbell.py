"""The engine's ring: asks the workers to look, off the caller's path.

Single-flight: however many callers press it meanwhile, each distinct message goes out
once. A ring that fails is only logged, because the inbox entry or the intent is what
counts: beat drains the one, the sweep sends the other.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from celery import Celery
from kombu import Queue

from persistence.engine import connecting
from persistence.protocols import QUEUES, ROUTES

logger = logging.getLogger(__name__)

MAX_PENDING = 10_000
"""Distinct messages kept for a slow broker."""

Message = tuple[str, tuple[str | int, ...]]


class Bell(Protocol):
    """Asks workers to look; `press` never blocks nor raises."""

    def press(self, task: str, *args: str | int) -> None: ...

    def close(self, timeout: float) -> None: ...


class Doorbell:
    """A daemon thread that sends tasks; `press` never blocks nor raises."""

    def __init__(self, broker_url: str) -> None:
        self._app = _producer(broker_url)
        self._pressed = threading.Event()
        self._closing = False
        self._lock = threading.Lock()
        self._pending: dict[Message, None] = {}
        self._thread: threading.Thread | None = None

    def press(self, task: str, *args: str | int) -> None:
        # Started on first use, so that a dispatcher made before a fork works after it.
        with self._lock:
            if len(self._pending) < MAX_PENDING:
                self._pending[task, args] = None
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._ring_for_ever, name="doorbell", daemon=True
                )
                self._thread.start()
        self._pressed.set()

    def close(self, timeout: float) -> None:
        """Send what is still to be sent and stop, within `timeout` seconds."""
        self._closing = True
        thread = self._thread
        if thread is not None:
            self._pressed.set()
            thread.join(timeout)
        self._app.close()

    def _ring_for_ever(self) -> None:
        while True:
            self._pressed.wait()
            self._pressed.clear()
            # Asked first: what was pressed before the close is then among the taken.
            is_last = self._closing
            self._send(self._take())
            if is_last:
                return

    def _take(self) -> list[Message]:
        with self._lock:
            taken = list(self._pending)
            self._pending.clear()
        return taken

    def _send(self, messages: list[Message]) -> None:
        try:
            for task, args in messages:
                self._app.send_task(task, args=list(args), ignore_result=True)
        except Exception as error:  # noqa: BLE001 -- the broker is away for the others, too
            logger.warning("ring failed; beat and the sweep make up for it: %s", error)


def _producer(broker_url: str) -> Celery:
    """A Celery app that can only send, and gives up on a frozen broker."""
    # No fix-ups: the engine may have a Django of its own, which is none of ours.
    app = Celery(set_as_current=False, fixups=[])
    url, options = connecting.broker(broker_url)
    app.conf.update(
        # Not `broker_url`, which the environment's CELERY_BROKER_URL would override.
        broker_write_url=url,
        task_serializer="json",
        task_routes=ROUTES,
        task_ignore_result=True,
        broker_transport_options={
            "socket_timeout": 2,
            "socket_connect_timeout": 1,
            **options,
        },
        task_publish_retry_policy={
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.2,
        },
    )
    if url.startswith(("amqp", "pyamqp")):
        # Of whatever type the workers have declared them: said otherwise here, the
        # broker would refuse the message.
        app.conf.task_queues = [Queue(name, no_declare=True) for name in QUEUES]
    return app
