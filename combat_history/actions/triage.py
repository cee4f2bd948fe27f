"""Triage: the team's word on the things that wait for a person.

It decides nothing about them: what is acknowledged or snoozed waits as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import Error, transaction
from django.utils import timezone

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.models import (
    Character,
    CombatHistory,
    ParkedOperation,
    RejectedPayload,
    SettlementDiscrepancy,
    Status,
    Triage,
)

if TYPE_CHECKING:
    from django.db.models import QuerySet

PERMISSION = "combat_history.change_triage"
NOTE_PERMISSION = "combat_history.note_player"
MAX_TARGETS = 5000
"""How many one decision is about: a whole group of failed combats."""

MAX_NOTE_LENGTH = 1000


class Verb(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    ASSIGN = "assign"
    NOTE = "note"
    SNOOZE = "snooze"
    WAKE = "wake"


@dataclass(frozen=True, slots=True)
class Say:
    """One thing to be said, and what is given with it.

    `assigned_to`: a user of the admin; "" is nobody where the verb assigns, and
    otherwise leaves whoever it is. `note`: "" clears it where the verb notes only.
    `until`: snoozes with any verb but the one that ends a snooze.
    """

    verb: Verb
    assigned_to: str = ""
    note: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """The targets of one decision. `skipped`: what does not wait, or never was."""

    done: list[str]
    skipped: list[str]


def say(
    kind: Triage.Kind,
    target_ids: Sequence[str],
    what: Say,
    *,
    actor: User,
) -> Said:
    """Say it of everything named that still waits; others are skipped.

    One transaction, with an audit entry for all that fared alike; the words of a note
    of a player are in none, so that they can be forgotten. Raises PermissionDenied,
    audited; ValueError for what cannot be said, or of too much at once; the database's
    own error, audited where it still can be, with nothing changed.
    """
    ids = sorted(set(target_ids))
    if len(ids) > MAX_TARGETS:
        raise ValueError(f"{len(ids)} targets; at most {MAX_TARGETS} at a time")
    verb, target = str(what.verb), str(Triage.Kind(kind).value)
    if not actor.has_perm(permission_of(kind)):
        audit.deny(actor, verb, target, ids, _reason(kind, what))
    values = _values(what, actor)
    try:
        with transaction.atomic(durable=True):
            return _say(kind, ids, what, values, actor)
    except Error as error:
        audit.record_failure(actor, verb, target, ids, _reason(kind, what), error)
        raise


def permission_of(kind: Triage.Kind) -> str:
    """Support may say something of players, and of nothing that is decided about."""
    return NOTE_PERMISSION if kind == Triage.Kind.PLAYER else PERMISSION


def _values(what: Say, actor: User) -> dict[str, Any]:
    """The columns that change: the verb's own, and those of whatever else is given."""
    values: dict[str, Any] = {}
    if what.verb is Verb.ACKNOWLEDGE:
        values["acknowledged_by"] = actor.get_username()
        values["acknowledged_at"] = timezone.now()
    if what.assigned_to or what.verb is Verb.ASSIGN:
        values["assigned_to"] = _of_the_team(what.assigned_to)
    if what.until or what.verb in (Verb.SNOOZE, Verb.WAKE):
        values["snoozed_until"] = _snoozed_until(what)
    note = what.note.strip()
    if len(note) > MAX_NOTE_LENGTH:
        raise ValueError(f"a note has at most {MAX_NOTE_LENGTH} characters")
    if note or what.verb is Verb.NOTE:
        values["note"] = note
    return values


def _snoozed_until(what: Say) -> datetime | None:
    if what.verb is Verb.WAKE and what.until is None:
        return None
    if what.verb is Verb.WAKE or what.until is None or what.until <= timezone.now():
        raise ValueError("snooze until some time to come, or end the snooze")
    return what.until


def _of_the_team(username: str) -> str:
    team = User.objects.filter(is_staff=True, is_active=True)
    if username and not team.filter(username=username).exists():
        raise ValueError(f"no active user of the admin: {username}")
    return username


def _say(
    kind: Triage.Kind,
    ids: Sequence[str],
    what: Say,
    values: Mapping[str, Any],
    actor: User,
) -> Said:
    waiting = {str(pk) for pk in _waiting(kind, ids)}
    done = [id_ for id_ in ids if id_ in waiting]
    skipped = [id_ for id_ in ids if id_ not in waiting]
    # In one order, so that two people who decide on the same group cannot deadlock.
    rows = Triage.objects.filter(kind=kind, target_id__in=done).order_by("target_id")
    before = {row.target_id: row for row in rows.select_for_update(no_key=True)}
    Triage.objects.bulk_create(
        [
            Triage(kind=kind, target_id=id_, updated_at=timezone.now(), **values)
            for id_ in done
        ],
        update_conflicts=True,
        unique_fields=["kind", "target_id"],
        update_fields=[*values, "updated_at"],
    )
    new = Triage()
    told = [name for name in values if name != "note" or kind != Triage.Kind.PLAYER]
    acts = [
        Act(
            id_,
            Outcome.DONE,
            before={name: _plain(getattr(before.get(id_, new), name)) for name in told},
            after={name: _plain(values[name]) for name in told},
        )
        for id_ in done
    ]
    acts += [Act(id_, Outcome.SKIPPED, "does not wait") for id_ in skipped]
    target = str(Triage.Kind(kind).value)
    audit.record(actor, str(what.verb), target, acts, _reason(kind, what))
    return Said(done, skipped)


def _reason(kind: Triage.Kind, what: Say) -> str:
    return "" if kind == Triage.Kind.PLAYER else what.note.strip()


def _waiting(kind: Triage.Kind, ids: Sequence[str]) -> list[Any]:
    rows: QuerySet[Any]
    match kind:
        case Triage.Kind.COMBAT:
            rows = CombatHistory.objects.filter(settlement_status=Status.FAILED)
            return list(rows.filter(pk__in=map(UUID, ids)).values_list("pk", flat=True))
        case Triage.Kind.DISCREPANCY:
            rows = SettlementDiscrepancy.objects.all()
        case Triage.Kind.REJECTED:
            rows = RejectedPayload.objects.all()
        case Triage.Kind.PARKED:
            rows = ParkedOperation.objects.filter(resolved_at=None)
        case Triage.Kind.PLAYER:
            rows = Character.objects.all()
    return list(rows.filter(pk__in=map(int, ids)).values_list("pk", flat=True))


def _plain(value: Any) -> Any:
    """A value as the audit holds it; a default of the database is an empty text."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) or value is None else ""
