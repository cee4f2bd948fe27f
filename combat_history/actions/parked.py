"""Parked operations: an operator has them tried again, or discards them for ever.

A retry applies nothing: it marks the row and asks for a save of the player, whose
Saver tries it like everything else. What a discarded one held up stays parked until it
is retried or discarded itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import Error, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.models import Character, ParkedOperation
from persistence.worker import rings

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TARGET = "parked operation"

MAX_OPERATIONS = 500
"""How many one decision is about: their players are locked together, and a person
answers for each."""


class Action(StrEnum):
    """The actions on a parked operation, each with a permission of its own."""

    RETRY = "retry"
    DISCARD = "discard"

    @property
    def permission(self) -> str:
        # The codename of the first is older than its word.
        verb = "replay" if self is Action.RETRY else self
        return f"combat_history.{verb}_parkedoperation"


class SkipReason(StrEnum):
    APPLIED = "applied"
    DISCARDED = "discarded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Preview:
    """`rows` are parked still; `holds_up` says whether others wait for them."""

    rows: Sequence[ParkedOperation]
    holds_up: set[int]
    skipped: dict[int, SkipReason]


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of a decision. `announced`: the saves are asked for; else the sweep
    asks, or the game."""

    done: list[int]
    skipped: dict[int, SkipReason]
    announced: bool = True


def preview(pks: Sequence[int]) -> Preview:
    """The operations that an action would change now. Reads only."""
    waiting = ParkedOperation.objects.filter(
        scope=OuterRef("scope"),
        character_id=OuterRef("character_id"),
        blocked_by=OuterRef("op_id"),
        resolved_at=None,
    )
    found = ParkedOperation.objects.filter(pk__in=pks).annotate(holds=Exists(waiting))
    rows = list(found.order_by("pk"))
    return Preview(
        rows=[row for row in rows if row.resolution is None],
        holds_up={row.pk for row in rows if row.holds},
        skipped=_skipped(pks, {row.pk: row.resolution for row in rows}),
    )


def retry(pks: Sequence[int], *, actor: User, reason: str) -> Decision:
    """Have parked operations tried again by the next save of their players.

    One transaction marks the rows and writes an audit entry for every one asked for;
    what is resolved is skipped. The saves are asked for after the commit: if Redis is
    away, or this process dies in between, the sweep does.

    Raises PermissionDenied, audited; ValueError for a reason or a number out of bounds;
    the database's own error, audited where it still can be, with nothing changed.
    """
    decision, players = _decide(Action.RETRY, pks, actor, reason)
    return Decision(decision.done, decision.skipped, rings.ask_for_saves(players))


def discard(pks: Sequence[int], *, actor: User, reason: str) -> Decision:
    """Have parked operations never applied; they hold nothing up any more.

    Raises as `retry` does.
    """
    decision, _ = _decide(Action.DISCARD, pks, actor, reason)
    return decision


Player = tuple[str, int]
"""A scope and a character: what one save is of."""


def _decide(
    action: Action, pks: Sequence[int], actor: User, reason: str
) -> tuple[Decision, list[Player]]:
    pks = sorted(set(pks))
    if len(pks) > MAX_OPERATIONS:
        raise ValueError(f"{len(pks)} operations; at most {MAX_OPERATIONS} at a time")
    ids = [str(pk) for pk in pks]
    if not actor.has_perm(action.permission):
        audit.deny(actor, action, TARGET, ids, reason)
    reason = audit.checked_reason(reason)
    try:
        return _mark(action, pks, actor, reason)
    except Error as error:
        audit.record_failure(actor, action, TARGET, ids, reason, error)
        raise


def _mark(
    action: Action, pks: Sequence[int], actor: User, reason: str
) -> tuple[Decision, list[Player]]:
    with transaction.atomic(durable=True):
        rows = _locked(pks)
        still_parked = [row for row in rows if row.resolution is None]
        marked = ParkedOperation.objects.filter(pk__in=[r.pk for r in still_parked])
        if action is Action.RETRY:
            moved = marked.update(retry_requested_at=Now())
        else:
            resolution = ParkedOperation.Resolution.DISCARDED
            moved = marked.update(resolved_at=Now(), resolution=resolution)
        if moved != len(still_parked):
            raise RuntimeError(f"marked {moved} of {len(still_parked)} locked rows")
        skipped = _skipped(pks, {row.pk: row.resolution for row in rows})
        acts = [
            Act(
                str(row.pk),
                Outcome.DONE,
                f"operation {row.op_id} of character {row.character_id}, "
                f"was {row.code}",
            )
            for row in still_parked
        ]
        acts += [Act(str(pk), Outcome.SKIPPED, why) for pk, why in skipped.items()]
        audit.record(actor, action, TARGET, acts, reason)
    players = sorted({(row.scope, row.character_id) for row in still_parked})
    return Decision([row.pk for row in still_parked], skipped), players


def _locked(pks: Sequence[int]) -> list[ParkedOperation]:
    """Players first, as the Savers lock: none of them is at work on these rows."""
    asked_for = ParkedOperation.objects.filter(pk__in=pks)
    players = Character.objects.filter(pk__in=asked_for.values("character_id"))
    list(players.order_by("pk").select_for_update(no_key=True).values_list("pk"))
    return list(asked_for.order_by("pk").select_for_update(no_key=True))


def _skipped(
    pks: Iterable[int], resolutions: Mapping[int, str | None]
) -> dict[int, SkipReason]:
    found = {pk: resolutions.get(pk, SkipReason.UNKNOWN) for pk in pks}
    return {pk: SkipReason(why) for pk, why in found.items() if why is not None}
