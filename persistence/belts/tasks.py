"""The Celery task that loads the belts of a combat that `start_combat` has begun."""

from __future__ import annotations

import logging
from uuid import UUID

import psycopg
from celery import shared_task
from django.db import DatabaseError, InterfaceError, connection

from persistence.belts import containers, reservations
from persistence.contract.ids import parse_session_id
from persistence.contract.redis_keys import BELTS
from persistence.worker import intents
from persistence.worker.transactions import renew_connection
from persistence.worker.transience import Transience, transience
from persistence.worker.unreadable import refuse_call

logger = logging.getLogger(__name__)

MAX_ROUNDS = 5
"""Somebody joins or leaves while the belts of the others are loaded: once more, but a
crowd that comes one by one does not keep a worker for ever."""


@shared_task(
    name="assemble_belts",  # the dispatcher sends it by name
    acks_late=True,  # a killed worker means redelivery; assembling twice is harmless
    ignore_result=True,
    max_retries=3,  # bounds redelivery after a lost worker
    default_retry_delay=1,
)
def assemble_belts(session_id: str) -> None:
    """Reserve the belts of a live combat and put them into its containers.

    One that was begun with characters that do not exist is taken back. Players who have
    left get back what they did not use. What keeps it from doing so leaves the intent,
    which the sweep sends again. A combat that is over needs no belts. A call that names
    no combat is kept as it came.
    """
    try:
        combat = parse_session_id(session_id)
    except ValueError as error:
        refuse_call(assemble_belts, [session_id], "session_id", str(error))
        return
    renew_connection()
    for _ in range(MAX_ROUNDS):
        noted = intents.begin(BELTS, combat)
        if not _assemble(combat) or intents.strike_out(BELTS, combat, noted):
            return


def _assemble(combat: UUID) -> bool:
    """False where it has to wait for the sweep."""
    char_ids = containers.fighters(combat)
    if char_ids is None:
        return True
    try:
        reservations.assemble(combat, char_ids, of_start=True)
        reservations.release_untouched(combat)
    except (DatabaseError, InterfaceError, psycopg.Error) as error:
        kind = transience(error)
        if kind is Transience.CONNECTION:
            connection.close()
        if kind is None:
            raise
        logger.warning(
            "belts wait for the sweep",
            extra={"session_id": combat, "error": str(error).strip()},
        )
        return False
    return True
