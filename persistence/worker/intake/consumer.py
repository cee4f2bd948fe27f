"""Celery's consumer, which no message ends: what it cannot run is set aside.

Between the transport and Celery's own code; see `messages` for what is read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.bootsteps import RUN  # type: ignore[attr-defined]  # stubs lack it
from celery.worker.consumer import Consumer
from celery.worker.control import control_command
from django.conf import settings
from kombu import Message

from persistence.protocols import QUEUE
from persistence.worker import rings
from persistence.worker.intake.arguments import check_keys
from persistence.worker.intake.callbacks import refused_chord
from persistence.worker.intake.envelopes import KEEP, Unreadable, set_aside
from persistence.worker.intake.gathering import Gathering
from persistence.worker.intake.messages import read

logger = logging.getLogger(__name__)

Handle = Callable[[Message], Any]


class ReadingConsumer(Consumer):
    """Reads each message before Celery does; whatever Celery refuses is kept."""

    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]
    connection: Any
    hub: Any
    task_consumer: Any
    _run: Handle

    def create_task_handler(self, *args: Any, **options: Any) -> Handle:
        self._run = super().create_task_handler(*args, **options)
        if self.connection.transport.driver_type == "amqp":
            self._read_ahead()
        return self._read

    def _read_ahead(self) -> None:
        """Have the queue of results read by the batch; see `gathering`."""
        limit = settings.SETTLEMENT_BATCH_SIZE
        gathering = Gathering(self._read, self._processes, self.hub.call_soon, limit)
        # One batch in each of the pool's processes, and the next one.
        ahead = limit * (self.pool.num_processes + 1)
        self.task_consumer.read_ahead(QUEUE, ahead, gathering.receive)

    def _processes(self) -> int:
        return self.pool.num_processes if self.blueprint.state == RUN else 0

    def _read(self, message: Message) -> None:
        try:
            read(message, self.app)
            check_keys(message)
        except Exception as error:  # noqa: BLE001 -- kept, with its words
            self._keep(message, error)
            return
        try:
            refused = refused_chord(message)
            if refused is not None:
                rings.send(KEEP, refused, connection=self.connection)
            self._run(message)
        except (*self.connection_errors, *self.channel_errors):
            # The broker's trouble, not the message's: Celery connects anew.
            raise
        except Exception as error:
            logger.exception("message not handled")
            self._keep(message, error)

    def _keep(self, message: Message, error: BaseException) -> None:
        # Celery fails behind the acknowledgement, too: then it has been run.
        if message.acknowledged:
            return
        set_aside(message, error)
        self._run(message)

    def on_decode_error(self, message: Message, exc: BaseException) -> None:
        """Of remote control as well, which Celery gives this method, too.

        A broadcast that were run would be acknowledged on a channel which remote
        control has closed meanwhile, and that would end the worker.
        """
        tasks = self.task_consumer
        if tasks is not None and tasks.has_received(message):
            self._keep(message, exc)
        else:
            logger.warning("broadcast dropped", exc_info=exc)

    def on_unknown_message(self, body: object, message: Message) -> None:
        self._keep(message, Unreadable("", "is no call of a task"))

    def on_unknown_task(self, body: object, message: Message, exc: Exception) -> None:
        self._keep(message, exc)

    def on_invalid_task(self, body: object, message: Message, exc: Exception) -> None:
        self._keep(message, exc)

    def reset_rate_limits(self) -> None:
        """There are none: what waits for its turn would hold up all the others."""
        limited = [name for name, task in self.app.tasks.items() if task.rate_limit]
        if limited:
            logger.warning("rate limits are ignored", extra={"tasks": limited})
        super().reset_rate_limits()


@control_command(
    name="rate_limit",
    args=[("task_name", str), ("rate_limit", str)],
    signature="<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
)
def refuse_rate_limit(state: Any, **_: object) -> dict[str, str]:
    """In place of Celery's own."""
    return {
        "error": "no rate limits here: what waits for its turn holds up all the others"
    }
