"""The scene of a worker of RabbitMQ, crashed as those in `scenes` are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import kombu
from django.conf import settings
from kombu import Connection, Queue

from persistence import tasks
from persistence.worker.intake.gathering import Gathering
from tests.chaos.scenes import Scene, sent_messages
from tests.support.brokers import publish
from tests.support.crash import Tell
from tests.support.ledger_oracle import Oracle
from tests.support.waiting import wait_until


def gathered(url: str, oracle: Oracle) -> Scene:
    """As `waiting`, but the queue is one of the RabbitMQ at `url`."""
    journal, messages = sent_messages(oracle)
    queue = f"queue-{next(iter(journal.offered))}"
    with Connection(url) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare(queue, auto_delete=False)
        publish(channel, queue, *messages)

    def deliver(_: Tell) -> None:
        with Connection(url) as connection:
            _deliver_gathered(connection, queue)

    return Scene(journal, deliver, deliver)


def _deliver_gathered(connection: Connection, queue: str) -> None:
    """As a worker does it, which is given what one before it did not acknowledge."""
    channel: Any = connection.channel()

    def told() -> Any:
        return channel.queue_declare(queue, passive=True)

    wait_until(lambda: not told().consumer_count, "the one before is known to be gone")
    number = told().message_count
    soon: list[Callable[[], None]] = []
    received: list[Any] = []
    gathering = Gathering(
        _settle, lambda: 1, soon.append, settings.SETTLEMENT_BATCH_SIZE
    )

    def receive(message: Any) -> None:
        received.append(message)
        gathering.receive(message)

    queues = [Queue(queue, no_declare=True)]
    kombu.Consumer(channel, queues, on_message=receive).consume()
    while len(received) < number:
        connection.drain_events(timeout=10)
    while soon:
        soon.pop()()


def _settle(message: Any) -> None:
    """In the place of Celery and its pool."""
    if message.headers["task"] == "settle_combat":
        queue = message.delivery_info["routing_key"]
        delivered: dict[str, Any] = {"routing_key": queue}
        if message.along is not None:
            delivered["along"] = message.along.calls()
        tasks.settle_combat.push_request(delivery_info=delivered)
        left = tasks.settle_combat(json.loads(message.body)[0][0])
        if message.along is not None:
            message.along.learn(json.dumps(left))
    message.ack()
