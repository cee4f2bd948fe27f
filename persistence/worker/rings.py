"""Rings: the only place on the worker's side that sends a task, by its name.

A message is a hint that may be lost: beat drains the inbox and advances the batches,
and the sweep finds what was asked to be saved. The engine has a doorbell of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import redis
from celery import current_app
from kombu.exceptions import OperationalError as BrokerError

from persistence.worker import inbox, intents

logger = logging.getLogger(__name__)


def ring() -> None:
    """Ask for a drain, unless one is asked for already."""
    try:
        if not inbox.press_doorbell():
            return
    except redis.RedisError:
        logger.warning("doorbell not reachable; beat drains the inbox", exc_info=True)
        return
    send_ring()


def send_ring() -> None:
    """Ask for a drain, whoever pressed the doorbell. A lost ring costs a beat."""
    _hint("settle_inbox", (), "ring failed; beat drains the inbox")


def ring_for_batches() -> None:
    """Ask for the replay batches to be advanced. A lost ring costs a beat."""
    _hint("replay_batches", (), "ring failed; beat advances the batches")


def ring_for_events() -> None:
    """Ask for events to be published. A lost ring costs a beat."""
    _hint("publish_events", (), "ring failed; beat has the events published")


def send_sweep() -> None:
    _hint("sweep", (), "first sweep not sent; beat sends the next")


def send_save(scope: str, char_id: int) -> None:
    """Ask for the save of a noted intent: a message that is lost costs a sweep."""
    _hint("task_sync_state", (scope, char_id), "not sent; the sweep finds the intent")


def ask_for_saves(players: Iterable[tuple[str, int]]) -> bool:
    """Note an intent for each (scope, character), and ring. False: Redis is away."""
    for scope, char_id in players:
        try:
            # Anew: a save at work may have read the rows before they were changed.
            to_send = intents.ask(scope, char_id)
        except redis.RedisError:
            logger.warning("saves that were asked for wait", exc_info=True)
            return False
        # Without it the save that is under way sees the change, or one follows it.
        if to_send:
            send_save(scope, char_id)
    return True


def send(task: str, args: Sequence[object], **options: Any) -> None:
    """Raises what the broker raises."""
    current_app.send_task(task, args=list(args), **options)


def _hint(task: str, args: Sequence[object], unless: str) -> None:
    try:
        send(task, args)
    except BrokerError:
        logger.warning(unless, exc_info=True)
