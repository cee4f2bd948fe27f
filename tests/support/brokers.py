"""The brokers that a worker reads from, put to the same tests."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import redis
from amqp.exceptions import NotFound
from django.conf import settings
from kombu import Connection, Queue

from persistence.contract import redis_keys
from persistence.protocols import QUEUES
from persistence.worker import inbox
from settlement_project.celery import app
from tests.support.fuzz import raw
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, running_worker, wait_idle


class Broker(Protocol):
    """A broker and its worker. `put`: items as `tests.support.fuzz` writes them."""

    worker: CeleryProcess
    url: str

    def send(self, document: object) -> str: ...
    def put(self, *items: object) -> None: ...
    def length(self, queue: str) -> int: ...
    def delete(self, queue: str) -> None: ...
    def wait_idle(self) -> None: ...


class RedisBroker:
    def __init__(self, worker: CeleryProcess, client: redis.Redis) -> None:
        self.worker = worker
        self.url = settings.BROKER_URL
        self.client = client

    def send(self, document: object) -> str:
        sent: str = app.send_task("settle_combat", args=[document]).id
        return sent

    def put(self, *items: object) -> None:
        self.client.lpush("celery", *map(raw, items))

    def length(self, queue: str) -> int:
        return int(self.client.llen(queue))

    def delete(self, queue: str) -> None:
        self.client.delete(queue)

    def wait_idle(self) -> None:
        wait_idle()


class AmqpBroker:
    """A RabbitMQ; what a worker has in its hands it does not tell."""

    def __init__(self, worker: CeleryProcess, connection: Connection) -> None:
        self.worker = worker
        self.url = connection.as_uri(include_password=True)
        self.connection = connection
        self.channel: Any = connection.default_channel

    def send(self, document: object) -> str:
        return send(self.connection, document)

    def put(self, *items: object) -> None:
        publish(self.channel, "celery", *items)

    def length(self, queue: str) -> int:
        channel: Any
        # Asked for a queue that there is not, the channel ends.
        with self.connection.channel() as channel:
            try:
                return int(channel.queue_declare(queue, passive=True).message_count)
            except NotFound:
                return 0

    def delete(self, queue: str) -> None:
        self.channel.queue_delete(queue)

    def wait_idle(self) -> None:
        wait_until(
            lambda: (
                not any(map(self.length, QUEUES))
                and not inbox.client().zcard(redis_keys.INBOX)
            ),
            "nothing waits",
        )


def send(connection: Connection, document: object) -> str:
    # The worker has made it, of whatever type.
    queue: Any = Queue("celery", no_declare=True)
    sent = app.send_task(
        "settle_combat", args=[document], connection=connection, queue=queue
    )
    return str(sent.id)


def publish(channel: Any, queue: str, *items: object) -> None:
    """Put items there as they are, or as the envelopes say that they are."""
    for item in items:
        told = item if isinstance(item, dict) and "headers" in item else None
        message = channel.prepare_message(
            raw(item) if told is None else b64decode(told["body"]),
            content_type=told and told["content-type"],
            content_encoding=told and told["content-encoding"],
            headers=told and told["headers"],
        )
        channel.basic_publish(message, exchange="", routing_key=queue)


@contextmanager
def running_amqp_worker(
    url: str,
    folder: Path,
    *,
    concurrency: int = 2,
    queues: str = "classic",
) -> Iterator[AmqpBroker]:
    """A worker of that RabbitMQ, whose queues, of that type, are deleted in the end."""
    with Connection(url) as connection:
        try:
            with running_worker(
                folder,
                concurrency=concurrency,
                CELERY_BROKER_URL=url,
                SETTLEMENT_QUEUE_TYPE=queues,
            ) as worker:
                yield AmqpBroker(worker, connection)
        finally:
            channel: Any = connection.default_channel
            for name in QUEUES:
                channel.queue_delete(name)
