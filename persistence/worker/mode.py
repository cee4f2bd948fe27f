"""The mode of settlement: whether it runs, drains or is paused.

One row in PostgreSQL, so that it outlives every restart. Hand-offs are accepted in any
mode; the mode says what may be claimed from the inbox. `draining`: only what was
accepted before `since`, and when that is settled the mode becomes `paused` by itself.
People change it by `combat_history.actions.mode`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils import timezone

from combat_history.models import AuditEntry, SettlementControl
from persistence.worker import inbox
from persistence.worker.entries import Entry

logger = logging.getLogger(__name__)

Mode = SettlementControl.Mode

TARGET = "settlement"
VERBS = {Mode.RUNNING: "resume", Mode.DRAINING: "drain", Mode.PAUSED: "pause"}

CACHE_SECONDS = 1.0
"""A process obeys a pause within this and the batch it is at."""

MAX_REASON_LENGTH = 1000

SYSTEM = "settlement"
"""Who pauses settlement when it is drained, as the audit names it."""


@dataclass(frozen=True, slots=True)
class State:
    """The row, or what its absence means."""

    mode: Mode
    since: datetime | None = None
    actor_name: str = ""
    reason: str = ""


RUNNING = State(Mode.RUNNING)

_known: tuple[float, State] | None = None


def claim(limit: int) -> tuple[list[Entry], bool]:
    """`inbox.claim` as far as the mode of settlement allows.

    Whoever finds nothing left of what is to be drained pauses settlement.
    """
    now = state()
    if now.mode is Mode.RUNNING:
        return inbox.claim(limit)
    if now.mode is Mode.DRAINING and now.since is not None:
        # Leased and backed-off entries count, too: only what is settled is drained.
        until_ms = int(now.since.timestamp() * 1000)
        if inbox.accepted_before(until_ms):
            return inbox.claim(limit, until_ms)
        end_draining(now.since)
    return [], False


def read() -> State:
    """The mode of now, from the row."""
    row = SettlementControl.objects.filter(pk=1).first()
    if row is None:
        return RUNNING
    return State(Mode(row.mode), row.since, row.actor_name, row.reason)


def state() -> State:
    """The answer of `read`, at most CACHE_SECONDS old where settlement runs.

    Any other mode is read anew, or the ring of a resume would find it still paused.
    While PostgreSQL is away it is what was last known, for nothing can be settled then.
    """
    global _known
    if _known is not None:
        is_fresh = time.monotonic() - _known[0] < CACHE_SECONDS
        if is_fresh and _known[1].mode is Mode.RUNNING:
            return _known[1]
    try:
        found = read()
    except (DatabaseError, InterfaceError):
        logger.warning("mode of settlement not known", exc_info=True)
        connection.close()
        return _known[1] if _known else RUNNING
    _known = time.monotonic(), found
    return found


def mode() -> Mode:
    return state().mode


def forget() -> None:
    """Let the next `state` read the row."""
    global _known
    _known = None


def end_draining(since: datetime) -> bool:
    """draining -> paused, by whoever finds it done first.

    False where somebody has decided otherwise since.
    """
    with transaction.atomic(durable=True):
        before = lock()
        # Resumed and drained anew since: that drain is not done because this one is.
        is_done = before.mode is Mode.DRAINING and before.since == since
        if is_done:
            reason = f"drained: {before.reason}"
            # The name of who asked for it stays: the pause is theirs.
            write(Mode.PAUSED, before.actor_name, reason)
            AuditEntry.objects.create(
                actor_name=SYSTEM,
                verb=VERBS[Mode.PAUSED],
                target_type=TARGET,
                target_id=TARGET,
                reason=reason[:MAX_REASON_LENGTH],
                before={"mode": before.mode},
                after={"mode": Mode.PAUSED},
                outcome=AuditEntry.Outcome.DONE,
            )
    forget()
    if is_done:
        logger.warning(
            "settlement mode", extra={"mode": Mode.PAUSED, "was": before.mode}
        )
    return is_done


def lock() -> State:
    """The row, which nobody else changes before the caller's transaction ends."""
    with connection.cursor() as cursor:
        # The row may not exist yet: whoever changes the mode holds the table.
        cursor.execute("LOCK TABLE settlement_control IN SHARE ROW EXCLUSIVE MODE")
    return read()


def write(mode: Mode, actor_name: str, reason: str) -> None:
    SettlementControl.objects.update_or_create(
        pk=1,
        defaults={
            "mode": mode,
            "since": timezone.now(),
            "actor_name": actor_name[:150],
            "reason": reason,
        },
    )
