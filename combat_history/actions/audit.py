"""The record of every action of a person: done, skipped, denied or failed.

Written in the transaction of the action, so that neither is there without the other;
what was denied or failed is written by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.exceptions import PermissionDenied
from django.db import Error

from combat_history import origin
from combat_history.models import AuditEntry

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

logger = logging.getLogger(__name__)

Outcome = AuditEntry.Outcome

MIN_REASON_LENGTH = 10
MAX_REASON_LENGTH = 1000

asking: ContextVar[HttpRequest | None] = ContextVar("asking", default=None)
"""The request itself, and by it who asks."""


@contextmanager
def answering(request: HttpRequest, id_: str) -> Iterator[None]:
    """The request that is answered inside; its id stays, for what is logged after."""
    origin.request_id.set(id_)
    token = asking.set(request)
    try:
        yield
    finally:
        asking.reset(token)


@dataclass(frozen=True, slots=True)
class Act:
    """An action on one target. `before` and `after`: what it changed."""

    target_id: str
    outcome: Outcome
    detail: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def record(
    actor: User, verb: str, target_type: str, acts: Iterable[Act], reason: str
) -> None:
    """One entry and one log line for each target; runs in the caller's transaction."""
    entries = [
        AuditEntry(
            actor_id=actor.pk,
            actor_name=actor.get_username(),
            verb=verb,
            target_type=target_type,
            target_id=act.target_id,
            reason=reason[:MAX_REASON_LENGTH],
            before=act.before,
            after=act.after,
            outcome=act.outcome,
            detail=act.detail,
            request_id=origin.request_id.get(),
        )
        for act in acts
    ]
    AuditEntry.objects.bulk_create(entries)
    for entry in entries:
        logger.info(
            verb,
            extra={
                "target": f"{target_type} {entry.target_id}",
                "actor": actor.pk,
                "outcome": f"{entry.outcome} {entry.detail}".strip(),
                "request_id": entry.request_id,
            },
        )


def deny(
    actor: User, verb: str, target_type: str, target_ids: Iterable[str], reason: str
) -> NoReturn:
    """Raises PermissionDenied, once that is written down."""
    acts = [Act(id_, Outcome.DENIED, "no permission") for id_ in target_ids]
    record(actor, verb, target_type, acts, reason)
    raise PermissionDenied


def record_failure(
    actor: User,
    verb: str,
    target_type: str,
    target_ids: Iterable[str],
    reason: str,
    error: Exception,
) -> None:
    """Audit an action that was rolled back; the caller raises the error itself."""
    words = f"{type(error).__name__}: {error}".strip()
    acts = [Act(id_, Outcome.FAILED, words) for id_ in target_ids]
    try:
        record(actor, verb, target_type, acts, reason)
    except Error:
        # The action's own error is the one that its caller has to see.
        logger.exception("the audit entry of a failed action was not written")


def checked_reason(reason: str) -> str:
    """The reason without its margins. Raises ValueError where it says too little."""
    reason = reason.strip()
    if not MIN_REASON_LENGTH <= len(reason) <= MAX_REASON_LENGTH:
        raise ValueError(
            f"a reason has {MIN_REASON_LENGTH} to {MAX_REASON_LENGTH} characters"
        )
    return reason
