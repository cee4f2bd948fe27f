"""Routes messages: tasks of ours to queues of ours, all others anywhere."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP
from celery.app.routes import Router

from persistence.worker.intake.gathering import TaskConsumer


class OpenRouter(Router):
    """Lets callbacks out to the queues that their senders name.

    A task that this application does not have is somebody else's, and so is its queue.
    A task of ours in a queue nobody reads is a mistake: QueueNotFound.
    """

    app: Any
    queues: Any

    def route(self, options: dict[str, Any], name: str, *args: Any, **more: Any) -> Any:
        queue = options.get("queue")
        foreign = name not in self.app.tasks and queue not in self.queues
        if isinstance(queue, str) and foreign:
            # Not added to ours: a worker would listen to it after its next start.
            options = {**options, "queue": self.queues.new_missing(queue)}
        return super().route(options, name, *args, **more)


class OpenAmqp(AMQP):
    Consumer = TaskConsumer

    def Router(self, queues: Any = None, create_missing: Any = None) -> Router:  # noqa: N802 -- Celery's name
        return OpenRouter(self.routes, queues or self.queues, app=self.app)
