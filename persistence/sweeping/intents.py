"""Sends intents again that no task has served: their message or worker was lost."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from celery import current_app
from kombu.exceptions import ChannelError

from persistence.contract import redis_keys
from persistence.contract.ids import parse_session_id
from persistence.contract.players import player_id
from persistence.protocols import QUEUE, ROUTES, scope_of
from persistence.worker import inbox, intents, rings

logger = logging.getLogger(__name__)

LIMIT = 1000
"""Messages of one sweep, and as many as may wait where it adds to them."""

LEAST = 1
"""Sent however many wait: those may be messages that no intent stands behind."""


@dataclass(frozen=True, slots=True)
class _Message:
    intent: intents.Intent
    task: str
    args: list[str | int]

    @property
    def queue(self) -> str:
        return ROUTES.get(self.task, {"queue": QUEUE})["queue"]


def send_overdue() -> int:
    """Send the tasks of waiting intents, oldest first; one sent twice is harmless.

    Never more than make up for what is missing: where as many messages wait in a queue
    as there are intents for it, none of them is lost. Where many wait, a lost one costs
    no time yet, and an engine may still be sending those of its latest calls.
    """
    noted: Counter[str] = Counter()
    due: list[_Message] = []
    for intent in intents.every():
        message = _message(intent)
        if message is not None:
            noted[message.queue] += 1
            if intent.is_due:
                due.append(message)
    _forget_old_messages()
    room = {
        queue: min(noted[queue], LIMIT) - _waiting(queue)
        for queue in {message.queue for message in due}
    }
    left = {queue: max(number, LEAST) for queue, number in room.items()}
    sent = 0
    for message in due:
        if (
            sent < LIMIT
            and left[message.queue]
            and intents.claim_message(message.intent)
        ):
            rings.send(message.task, message.args)
            left[message.queue] -= 1
            sent += 1
    return sent


def _message(intent: intents.Intent) -> _Message | None:
    """The message of an intent; one that nobody can read is forgotten."""
    try:
        if intent.scope == redis_keys.BELTS:
            session_id = parse_session_id(intent.subject)
            return _Message(intent, "assemble_belts", [str(session_id)])
        scope, char_id = scope_of(intent.scope), _player(intent.subject)
    except ValueError:
        logger.error("intent is not readable", extra={"member": intent.member})
        intents.forget(intent)
        return None
    return _Message(intent, "task_sync_state", [str(scope), char_id])


def _forget_old_messages() -> None:
    seconds, _ = inbox.client().time()
    intents.forget_messages_sent((seconds - redis_keys.DAY_SECONDS) * 1_000_000)


def _waiting(queue: str) -> int:
    """Messages that no worker has taken yet."""
    with (
        current_app.connection_or_acquire() as connection,
        connection.channel() as channel,
    ):
        try:
            declared = channel.queue_declare(queue, passive=True)
        except ChannelError:  # an empty one does not exist
            return 0
        return int(declared.message_count)


def _player(subject: str) -> int:
    char_id = player_id(subject)
    if char_id is None:
        raise ValueError(f"{subject!r} is no player")
    return char_id
