"""The project's settings on quorum queues of RabbitMQ."""

from __future__ import annotations

from kombu import Queue

from persistence.protocols import QUEUES
from settlement_project.settings import *  # noqa: F403

CELERY_TASK_QUEUES = [
    Queue(name, queue_arguments={"x-queue-type": "quorum"}) for name in QUEUES
]
