"""The record of every action of a person: done, skipped, denied or failed.

Written in the transaction of the action, so that neither is there without the other;
what was denied or failed is written by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    from django.db.models import QuerySet
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
    """One entry and one log line for all targets that fared alike, its members.

    Runs in the caller's transaction.
    """
    entries = [
        AuditEntry(
            actor_id=actor.pk,
            actor_name=actor.get_username(),
            verb=verb,
            target_type=target_type,
            target_id="" if alike[1:] else alike[0].target_id,
            members=[act.target_id for act in alike] if alike[1:] else None,
            reason=reason[:MAX_REASON_LENGTH],
            before=_before(alike),
            after=alike[0].after,
            outcome=alike[0].outcome,
            detail=alike[0].detail,
            request_id=origin.request_id.get(),
        )
        for alike in _alike(acts)
    ]
    AuditEntry.objects.bulk_create(entries)
    for entry in entries:
        targets = len(entry.members or [0])
        logger.info(
            verb,
            extra={
                "target": f"{target_type} {entry.target_id or f'x {targets}'}",
                "actor": actor.pk,
                "outcome": f"{entry.outcome} {entry.detail}".strip(),
                "request_id": entry.request_id,
            },
        )


def _alike(acts: Iterable[Act]) -> Iterable[list[Act]]:
    """Acts with one result together, in the order of their first ones."""
    found: dict[tuple[str, str, str], list[Act]] = {}
    for act in acts:
        result = (act.outcome, act.detail, repr(act.after))
        found.setdefault(result, []).append(act)
    return found.values()


def _before(alike: Sequence[Act]) -> Mapping[str, Any] | None:
    first = alike[0].before
    if all(act.before == first for act in alike):
        return first
    return {act.target_id: act.before for act in alike}


def about(*target_ids: str) -> QuerySet[AuditEntry]:
    """Entries of these targets, alone or as members, by the index of each."""
    entries = AuditEntry.objects
    alone = entries.filter(target_id__in=target_ids).values("pk")
    among = entries.filter(members__overlap=list(target_ids)).values("pk")
    return entries.filter(pk__in=alone.union(among))


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
