"""The simulated game server: fights end at a steady rate and are handed over.

A result is the engine's until it is accepted. The dispatcher says so at once; a bare
`send_task` says nothing, so the engine sends it again until the row appears.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from celery import Celery
from kombu.exceptions import OperationalError as BrokerError

from demo.submission import Door, Submission
from persistence.contract.errors import HandoffFailed, PayloadConflict
from persistence.dispatcher import SyncDispatcher

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
RESEND_SECONDS = 10
MAX_IN_FLIGHT = 64

OnAnswer = Callable[[Submission, str, float], None]
"""Called with the submission, the door's reply, and when it was sent (Unix time)."""


def bare_producer(broker_url: str) -> Celery:
    """All that an engine without any code of ours has: Celery and an address."""
    producer = Celery("game", broker=broker_url, set_as_current=False)
    producer.conf.update(
        task_serializer="json",
        task_ignore_result=True,
        # Without these a frozen broker would hold the caller for ever.
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2},
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.2},
    )
    return producer


class Engine:
    """Hands submissions over. `on_answer` is told what each door replied."""

    def __init__(
        self, dispatcher: SyncDispatcher, producer: Celery, on_answer: OnAnswer
    ) -> None:
        self._dispatcher = dispatcher
        self._producer = producer
        self._on_answer = on_answer
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._accepted: dict[str, asyncio.Event] = {}
        self._sent: dict[str, tuple[float, Submission]] = {}
        self.handed_over = 0

    async def play(self, submissions: Iterable[Submission], rate: float) -> None:
        """Send all, `rate` a second; returns once every door has answered."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, submission in enumerate(submissions):
                await asyncio.sleep(started + number / rate - time.monotonic())
                await self._slots.acquire()
                self._accepted.setdefault(submission.session_id, asyncio.Event())
                group.create_task(self._deliver(submission))

    async def resend(self, missing: set[str]) -> None:
        """Send again what a bare `send_task` took, but no table shows in time."""
        now = time.monotonic()
        for session_id in missing & self._sent.keys():
            last_sent, submission = self._sent[session_id]
            if now - last_sent > RESEND_SECONDS:
                self._sent[session_id] = (now, submission)
                await self._send_task(submission)

    async def _deliver(self, submission: Submission) -> None:
        try:
            if submission.after is not None:
                await self._accepted[submission.after].wait()
            sent_at = time.time()
            if submission.door is Door.DISPATCHER:
                answer = await self._submit(submission)
                self._accepted[submission.session_id].set()
            else:
                answer = await self._send_task(submission)
                if submission.is_combat:
                    self._sent[submission.session_id] = (time.monotonic(), submission)
        finally:
            self._slots.release()
        self.handed_over += submission.is_combat
        self._on_answer(submission, answer, sent_at)

    async def _submit(self, submission: Submission) -> str:
        while True:
            try:
                return await self._dispatcher.submit_combat(submission.body)
            except PayloadConflict:
                return "conflict"
            except HandoffFailed as error:
                logger.warning("%s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _send_task(self, submission: Submission) -> str:
        while True:
            try:
                await asyncio.to_thread(
                    self._producer.send_task, "settle_combat", args=[submission.body]
                )
            except BrokerError as error:
                logger.warning("send_task failed: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return "sent"
