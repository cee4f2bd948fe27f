"""Events of tasks that a worker has done though Celery did not deliver them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import redis
from amqp import AMQPError
from celery import current_app
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError

from persistence.worker.intake.envelopes import SETTLE
from persistence.worker.intake.plain import Plain

logger = logging.getLogger(__name__)


def tell_of(taken: Sequence[Plain], connection: Connection, hostname: str) -> None:
    """Show each as received, started and succeeded, all in one message.

    The worker itself groups its events so. Where the broker is away they are dropped.
    """
    if not taken or not current_app.conf.worker_send_task_events:
        return
    try:
        with current_app.events.Dispatcher(
            connection,
            hostname=hostname,
            buffer_while_offline=False,
            buffer_group={"task"},
            buffer_limit=sys.maxsize,
        ) as dispatcher:
            for one in taken:
                _tell(dispatcher, one)
            dispatcher.flush()
    except (BrokerError, AMQPError, redis.RedisError, OSError):
        logger.warning("events dropped", exc_info=True)


def _tell(dispatcher: Any, taken: Plain) -> None:
    dispatcher.send(
        "task-received",
        uuid=taken.task_id,
        name=SETTLE,
        args=f"({taken.handoff.session_id},)",
        kwargs="{}",
        root_id=taken.task_id,
        parent_id=None,
        retries=0,
        eta=None,
        expires=None,
    )
    dispatcher.send("task-started", uuid=taken.task_id)
    dispatcher.send("task-succeeded", uuid=taken.task_id, result="None", runtime=0.0)
