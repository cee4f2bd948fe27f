"""Whether settlement runs: pause, drain, resume.

One row in PostgreSQL, so that it outlives every restart. Hand-offs are accepted in any
mode; the mode says what may be claimed from the inbox. `draining`: only what was
accepted before `since`, and when that is settled the mode becomes `paused` by itself.
"""

from __future__ import annotations

import getpass
import logging
import os
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils import timezone

from combat_history.actions import audit
from combat_history.models import AuditEntry, SettlementControl
from persistence.worker import rings

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

Mode = SettlementControl.Mode

PERMISSION = "combat_history.control_settlement"
VERBS = {Mode.RUNNING: "resume", Mode.DRAINING: "drain", Mode.PAUSED: "pause"}

CACHE_SECONDS = 1.0
"""A process obeys a pause within this and the batch it is at."""


@dataclass(frozen=True, slots=True)
class State:
    """The row, or what its absence means."""

    mode: Mode
    since: datetime | None = None
    actor_name: str = ""
    reason: str = ""


RUNNING = State(Mode.RUNNING)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as the audit names them. `id`: of a user, none of a command."""

    name: str
    id: int | None = None


SYSTEM = Actor("settlement")


def command_actor() -> Actor:
    """Who runs a command: the user of the machine, for the audit to name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        name = f"uid {os.getuid()}"
    return Actor(f"{name}@{os.uname().nodename}"[:150])


_known: tuple[float, State] | None = None


def read() -> State:
    """The mode of now, from the row."""
    row = SettlementControl.objects.filter(pk=1).first()
    if row is None:
        return RUNNING
    return State(Mode(row.mode), row.since, row.actor_name, row.reason)


def state() -> State:
    """What `read` said, at most CACHE_SECONDS ago where settlement runs.

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


def set_mode(mode: Mode, *, actor: Actor, reason: str) -> bool:
    """Change the mode, audited in the same transaction; False where it was that mode.

    A resume sends a ring; where it is lost beat drains the inbox. Raises ValueError for
    a reason that says too little.
    """
    reason = audit.checked_reason(reason)
    with transaction.atomic(durable=True):
        before = _lock()
        is_new = before.mode != mode
        if is_new:
            _write(mode, actor, reason)
        _audit(mode, actor, reason, before, _outcome(is_new))
    forget()
    logger.warning(
        "settlement mode",
        extra={"mode": mode, "was": before.mode, "actor": actor.name, "reason": reason},
    )
    if is_new and mode is Mode.RUNNING:
        rings.send_ring()
    return is_new


def set_mode_as(user: User, mode: Mode, *, reason: str) -> bool:
    """`set_mode` for a person of the admin. Raises PermissionDenied, audited."""
    actor = Actor(user.get_username(), user.pk)
    if not user.has_perm(PERMISSION):
        _audit(mode, actor, reason, read(), AuditEntry.Outcome.DENIED)
        raise PermissionDenied
    return set_mode(mode, actor=actor, reason=reason)


def end_draining(since: datetime) -> bool:
    """draining -> paused, by whoever finds it done first.

    False where somebody has decided otherwise since.
    """
    with transaction.atomic(durable=True):
        before = _lock()
        is_done = before.mode is Mode.DRAINING and before.since == since
        if is_done:
            reason = f"drained: {before.reason}"
            # The name of who asked for it stays: the pause is theirs.
            _write(Mode.PAUSED, Actor(before.actor_name), reason)
            _audit(Mode.PAUSED, SYSTEM, reason, before, AuditEntry.Outcome.DONE)
    forget()
    if is_done:
        logger.warning(
            "settlement mode", extra={"mode": Mode.PAUSED, "was": before.mode}
        )
    return is_done


def _lock() -> State:
    with connection.cursor() as cursor:
        # The row may not exist yet: whoever changes the mode holds the table.
        cursor.execute("LOCK TABLE settlement_control IN SHARE ROW EXCLUSIVE MODE")
    return read()


def _write(mode: Mode, actor: Actor, reason: str) -> None:
    SettlementControl.objects.update_or_create(
        pk=1,
        defaults={
            "mode": mode,
            "since": timezone.now(),
            "actor_name": actor.name[:150],
            "reason": reason,
        },
    )


def _outcome(is_new: bool) -> AuditEntry.Outcome:
    return AuditEntry.Outcome.DONE if is_new else AuditEntry.Outcome.SKIPPED


def _audit(
    mode: Mode, actor: Actor, reason: str, before: State, outcome: AuditEntry.Outcome
) -> None:
    is_changed = outcome == AuditEntry.Outcome.DONE
    AuditEntry.objects.create(
        actor_id=actor.id,
        actor_name=actor.name[:150],
        verb=VERBS[mode],
        target_type="settlement",
        target_id="settlement",
        reason=reason[: audit.MAX_REASON_LENGTH],
        before={"mode": before.mode},
        after={"mode": mode if is_changed else before.mode},
        outcome=outcome,
        request_id=audit.request_id.get(),
    )
