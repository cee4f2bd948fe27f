"""How far a combat has come: the stations from its end to its settlement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from combat_history.admin.rendering import UNDONE, visible
from combat_history.insight import explain
from combat_history.models import (
    CombatHistory,
    CombatRevision,
    ReplayRequest,
    SettlementAttempt,
    Status,
)

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

DONE, BAD, NOW, AHEAD = "done", "bad", "now", "ahead"


@dataclass(frozen=True, slots=True)
class Station:
    """`tone`: whether it is behind, went wrong, is at work, or lies ahead."""

    label: str | _StrPromise
    tone: str
    at: datetime | None = None
    who: str = ""
    note: str | _StrPromise = ""


def stations(
    row: CombatHistory,
    attempts: Sequence[SettlementAttempt],
    requests: Sequence[ReplayRequest],
    revisions: Sequence[CombatRevision],
) -> list[Station]:
    """In the order in which a combat passes them; those that it needed alone."""
    received = Station(_("received"), DONE, row.received_at, visible(row.caller))
    return [
        Station(_("the fight ended"), DONE, row.finished_at),
        received,
        *_tries(attempts),
        *_failed(row),
        *_repaired(row, requests, revisions),
        _last(row),
    ]


def _tries(attempts: Sequence[SettlementAttempt]) -> Iterator[Station]:
    if attempts:
        last = attempts[-1]
        tone = NOW if last.ended_at is None else DONE
        number = f"× {len(attempts)}"
        yield Station(_("tries"), tone, last.started_at, visible(last.worker), number)


def _failed(row: CombatHistory) -> Iterator[Station]:
    if row.failed_at is not None:
        code = row.failure_code
        note = explain.failure(code).label if code else ""
        yield Station(_("failed"), BAD, row.failed_at, note=note)


def _repaired(
    row: CombatHistory,
    requests: Sequence[ReplayRequest],
    revisions: Sequence[CombatRevision],
) -> Iterator[Station]:
    """By whoever had it replayed last, or corrected it without a replay."""
    if row.failed_at is None:
        return
    repairs = [(r.requested_at, r.actor_name, _("replay")) for r in requests]
    repairs += [(r.created_at, r.author_name, _("correction")) for r in revisions]
    repairs = [repair for repair in repairs if repair[0] >= row.failed_at]
    if row.settlement_status in (Status.FAILED, Status.VOIDED) and not repairs:
        if row.settlement_status == Status.FAILED:
            yield Station(_("repair"), NOW, note=_("waits for a person"))
        return
    if not repairs:
        return
    at, who, how = max(repairs, key=lambda repair: repair[0])
    yield Station(_("repair"), DONE, at, visible(who), how)


def _last(row: CombatHistory) -> Station:
    match row.settlement_status:
        case Status.PROCESSED if row.compensated_at is not None:
            return Station(UNDONE, BAD, row.compensated_at)
        case Status.PROCESSED:
            return Station(_("settled"), DONE, row.settled_at)
        case Status.VOIDED:
            return Station(_("voided"), BAD)
        case Status.PENDING:
            return Station(_("settled"), NOW, note=_("waits for a worker"))
        case _:
            return Station(_("settled"), AHEAD)
