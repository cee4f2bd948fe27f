"""Plain results in a queue of RabbitMQ go to the pool by the batch.

A Celery task for each costs several times what settling it costs. So their queue is
read ahead, and whenever a process of the pool has done with a batch, the next message
takes along what has come meanwhile; see `taking`. All stay unacknowledged until their
hand-off has answered: whoever dies before leaves them to the broker. What was not
recorded goes on to Celery, each by itself, as all other messages do at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import kombu

from persistence.worker import entries
from persistence.worker.intake.plain import looks_plain

MAX_AHEAD = 65_535
"""The most that AMQP can be told."""

Handle = Callable[[Any], Any]


class Along:
    """Messages that another one takes along, until it is acknowledged or given up."""

    def __init__(
        self, messages: Sequence[Any], release: Callable[[Along], None]
    ) -> None:
        self.messages = messages
        self.left = set(range(len(messages)))
        self._release = release

    def calls(self) -> list[tuple[str, str]]:
        """What the pool is to record: the sender's id of each task, and its body."""
        return [(each.headers["id"], each.body) for each in self.messages]

    def learn(self, result: object) -> None:
        """From what the task has told: which of them it has not recorded."""
        try:
            self.left = set(json.loads(str(result)))
        except (ValueError, TypeError):
            # It came to none of them.
            return

    def release(self) -> None:
        self._release(self)


class Gathering:
    """Holds plain messages while each process of the pool has a batch of them.

    `processes`: how many there are; none in a worker that stops, whose broker is given
    back what it has not acknowledged.
    """

    def __init__(
        self,
        handle: Handle,
        processes: Callable[[], int],
        soon: Callable[[Callable[[], None]], object],
        limit: int,
    ) -> None:
        self._handle = handle
        self._processes = processes
        self._soon = soon
        self._limit = limit
        self._held: list[Any] = []
        self._running = 0

    def receive(self, message: Any) -> None:
        if not looks_plain(message):
            self._handle(message)
            return
        self._held.append(message)
        if len(self._held) == 1:
            # What has arrived together goes together.
            self._soon(self._send)

    def _send(self) -> None:
        while self._held and self._running < self._processes():
            first, *others = self._batch()
            first.along = Along(others, self._go_on)
            self._running += 1
            self._handle(first)

    def _batch(self) -> list[Any]:
        size = number = 0
        for message in self._held[: self._limit]:
            size += len(message.body)
            if number and size > entries.MAX_CLAIM_BYTES:
                break
            number += 1
        batch, self._held = self._held[:number], self._held[number:]
        return batch

    def _go_on(self, along: Along) -> None:
        self._running -= 1
        for number, message in enumerate(along.messages):
            if number not in along.left:
                message.ack()
            elif self._processes():
                self._handle(message)
        self._send()


class TaskConsumer(kombu.Consumer):
    """Celery's own, which may read one of its queues further ahead than the others.

    That one has a channel to itself: how far ahead is said to the channel, and for all
    of Celery's queues together it stays as it is.
    """

    channel: Any
    accept: Any
    _queues: dict[str, Any]
    _ahead: kombu.Consumer | None = None

    def read_ahead(self, name: str, count: int, on_message: Handle) -> None:
        """From the next `consume` on, hold up to `count` messages of that queue."""
        queue = self._queues.get(name)
        if queue is None:
            return
        channel = self.channel.connection.channel()
        # Of a consumer, not of a channel: a quorum queue knows no other.
        channel.basic_qos(0, min(count, MAX_AHEAD), False)
        self._ahead = kombu.Consumer(
            channel,
            [queue],
            auto_declare=False,
            accept=self.accept,
            on_decode_error=self.on_decode_error,
            on_message=on_message,
            tag_prefix=self.tag_prefix,
        )

    def _basic_consume(self, queue: Any, *args: Any, **options: Any) -> Any:
        ahead = self._ahead
        if ahead is not None and queue.name in {each.name for each in ahead.queues}:
            return ahead.consume()
        return super()._basic_consume(queue, *args, **options)

    def consuming_from(self, queue: Any) -> bool:
        ahead = self._ahead is not None and self._ahead.consuming_from(queue)
        return bool(ahead or super().consuming_from(queue))

    def has_received(self, message: Any) -> bool:
        """Whether it came to this consumer: a broadcast comes to others."""
        channels = [self.channel, *([self._ahead.channel] if self._ahead else [])]
        return any(message.channel is channel for channel in channels)

    def cancel(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
        super().cancel()

    close = cancel

    def cancel_by_queue(self, queue: Any) -> None:
        if self._ahead is not None:
            self._ahead.cancel_by_queue(queue)
        super().cancel_by_queue(queue)
