"""Intents that no task has answered: their messages were lost, or their worker."""

from __future__ import annotations

import logging

from celery import current_app

from persistence import intents, redis_keys
from persistence.ids import parse_session_id
from persistence.protocols import SyncScope
from persistence.sweeping.players import player_id

logger = logging.getLogger(__name__)

LIMIT = 1000


def send_overdue() -> int:
    """Their tasks again; a task that was on its way all the same is harmless."""
    return sum(map(_send, intents.overdue(LIMIT)))


def _send(intent: intents.Intent) -> int:
    args: list[str | int]
    try:
        if intent.scope == redis_keys.BELTS:
            name, args = "assemble_belts", [str(parse_session_id(intent.subject))]
        else:
            scope, char_id = SyncScope(intent.scope), _player(intent.subject)
            name, args = "task_sync_state", [str(scope), char_id]
    except ValueError:
        logger.error("intent is not readable", extra={"member": intent.member})
        intents.forget(intent)
        return 0
    current_app.send_task(name, args=args)
    return 1


def _player(subject: str) -> int:
    char_id = player_id(subject)
    if char_id is None:
        raise ValueError(f"{subject!r} is no player")
    return char_id
