"""The Celery task that advances the replay batches, chunk by chunk."""

from __future__ import annotations

import logging
import time
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from combat_history.actions import batches as replay_batch
from persistence.tasks import drain_batch
from persistence.worker import drain
from persistence.worker.transience import Transience, transience

logger = logging.getLogger(__name__)


@shared_task(
    name="replay_batches",
    acks_late=True,  # a killed worker means redelivery; a chunk is taken only once
    ignore_result=True,
    max_retries=3,  # bounds redelivery after a lost worker
    default_retry_delay=1,
)
def replay_batches() -> None:
    """Advance every running batch by chunks, and settle between them, for some seconds.

    Beat sends the next: a batch goes on wherever its worker died. Live fights that are
    due are settled by the same drains, in their order.
    """
    started = time.monotonic()
    drain.check_connection()
    while batches := replay_batch.running():
        moved = [_advance(batch_id) for batch_id in batches]
        settled = drain_batch(started)
        if not any(moved) and not settled:
            return
        if time.monotonic() - started > settings.SETTLEMENT_DRAIN_SECONDS:
            return


def _advance(batch_id: UUID) -> bool:
    """Advance one batch: what keeps it waiting keeps no other."""
    try:
        return replay_batch.advance(batch_id)
    except (DatabaseError, InterfaceError) as error:
        kind = transience(error)
        if kind is None:
            raise
        if kind is Transience.CONNECTION:
            connection.close()
        logger.warning(
            "replay batch waits for the next beat",
            extra={"batch": batch_id, "error": str(error).strip()},
        )
        return False
