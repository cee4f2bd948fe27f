"""Pause, drain and resume settlement: permitted, with a reason, and audited.

What each mode means, and who obeys it, is in `persistence.worker.mode`.
"""

from __future__ import annotations

import getpass
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied
from django.db import transaction

from combat_history import origin
from combat_history.actions import audit
from combat_history.models import AuditEntry
from persistence.worker import mode as settlement
from persistence.worker import rings
from persistence.worker.mode import TARGET, VERBS, Mode, State

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

PERMISSION = "combat_history.control_settlement"


@dataclass(frozen=True, slots=True)
class Actor:
    """The actor, as the audit names them. `id`: of a user, none of a command."""

    name: str
    id: int | None = None


def command_actor() -> Actor:
    """The actor of a command: the user of the machine, for the audit to name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        name = f"uid {os.getuid()}"
    return Actor(f"{name}@{os.uname().nodename}"[:150])


def set_mode(mode: Mode, *, actor: Actor, reason: str) -> bool:
    """Change the mode, audited in the same transaction; False where it was that mode.

    A resume sends a ring; where it is lost beat drains the inbox. Raises ValueError for
    a reason that says too little.
    """
    reason = audit.checked_reason(reason)
    with transaction.atomic(durable=True):
        before = settlement.lock()
        is_new = before.mode != mode
        if is_new:
            settlement.write(mode, actor.name, reason)
        _audit(mode, actor, reason, before, _outcome(is_new))
    # Obeyed here at once, by other processes within CACHE_SECONDS.
    settlement.forget()
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
        _audit(mode, actor, reason, settlement.read(), AuditEntry.Outcome.DENIED)
        raise PermissionDenied
    return set_mode(mode, actor=actor, reason=reason)


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
        target_type=TARGET,
        target_id=TARGET,
        reason=reason[: audit.MAX_REASON_LENGTH],
        before={"mode": before.mode},
        after={"mode": mode if is_changed else before.mode},
        outcome=outcome,
        request_id=origin.request_id.get(),
    )
