"""What happened to one combat and when, from every table that says something of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.admin.audit_words import verb_of
from combat_history.admin.rendering import UNDONE, cut, visible
from combat_history.insight import explain
from combat_history.models import (
    AuditEntry,
    CombatHistory,
    CombatRevision,
    ReplayRequest,
    SettlementAttempt,
    SettlementFailure,
    Status,
)

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

AUDIT_TARGET = "combat"
"""`target_type` of what is recorded of combats."""

POLICIES = {
    "record": _("shortages are recorded"),
    "fail": _("shortages fail the combat"),
}


MAX_TEXT = 300
"""Characters of a failure's detail; the whole of it is folded."""


@dataclass(frozen=True, slots=True)
class Event:
    """`who`: a person, a worker or an API token. `detail` is long, and folded."""

    at: datetime
    what: str | _StrPromise
    outcome: str | _StrPromise = ""
    who: str = ""
    lasted: str = ""
    text: str = ""
    detail: str = ""


def events_of(
    row: CombatHistory,
    attempts: Iterable[SettlementAttempt],
    failures: Iterable[SettlementFailure],
    requests: Iterable[ReplayRequest],
    entries: Iterable[AuditEntry],
    revisions: Iterable[CombatRevision],
) -> list[Event]:
    """Oldest first. What ends at the same moment stays in the order of its causes."""
    events = [
        *_of_row(row),
        *map(_of_attempt, attempts),
        *(_of_failure(failure, row) for failure in failures),
        *map(_of_request, requests),
        *map(_of_entry, entries),
        *map(_of_revision, revisions),
    ]
    return sorted(events, key=lambda event: event.at)


def _of_row(row: CombatHistory) -> Iterator[Event]:
    yield Event(row.finished_at, _("the fight ended"))
    yield Event(row.received_at, _("received"), who=_caller(row))
    if row.settled_at is not None:
        waited = shown_duration(row.settled_at - row.received_at)
        yield Event(row.settled_at, _("settled"), lasted=waited)
    if row.compensated_at is not None:
        yield Event(row.compensated_at, UNDONE)


def _caller(row: CombatHistory) -> str:
    return gettext("API token %s") % visible(row.caller) if row.caller else ""


def _of_failure(failure: SettlementFailure, row: CombatHistory) -> Event:
    """What the page tells in full above is not told twice."""
    event = of_failure(failure)
    is_told = row.settlement_status in (Status.FAILED, Status.VOIDED)
    if is_told and failure.failed_at == row.failed_at:
        return replace(event, detail="")
    return event


def of_failure(failure: SettlementFailure) -> Event:
    label = explain.failure(failure.code).label
    detail, traceback = visible(failure.detail), visible(failure.traceback)
    folded = [detail] if len(detail) > MAX_TEXT else []
    return Event(
        failure.failed_at,
        _("failed"),
        outcome=f"{label} ({visible(failure.code)})",
        text=detail[:MAX_TEXT],
        detail=cut("\n".join([*folded, *filter(None, [traceback])])),
    )


def _of_attempt(attempt: SettlementAttempt) -> Event:
    code = explain.failure(attempt.code).label if attempt.code else ""
    ended = attempt.ended_at
    return Event(
        attempt.started_at,
        _("attempt"),
        outcome=explain.OUTCOMES.get(attempt.outcome, visible(attempt.outcome)),
        who=visible(attempt.worker),
        lasted=shown_duration(ended - attempt.started_at) if ended else "",
        text=f"{code} ({visible(attempt.code)})" if code else "",
        detail=cut(visible(attempt.detail)),
    )


def _of_request(request: ReplayRequest) -> Event:
    facts = []
    if request.shortages:
        facts.append(str(POLICIES[request.shortages]))
    if request.revision > 1:
        facts.append(gettext("revision %(number)d") % {"number": request.revision})
    return Event(
        request.requested_at,
        _("replay requested"),
        outcome=ReplayRequest.State(request.state).label,
        who=visible(request.actor_name),
        text="; ".join([visible(request.reason), *facts]),
        detail=cut(visible(request.detail)),
    )


def _of_entry(entry: AuditEntry) -> Event:
    return Event(
        entry.at,
        verb_of(entry.verb),
        outcome=AuditEntry.Outcome(entry.outcome).label,
        who=visible(entry.actor_name),
        text=visible(entry.reason),
        detail=cut(visible(entry.detail)),
    )


def _of_revision(revision: CombatRevision) -> Event:
    number = {"number": revision.revision}
    return Event(
        revision.created_at,
        gettext("corrected: revision %(number)d") % number,
        who=visible(revision.author_name),
        text=visible(revision.reason),
    )


def shown_duration(lasted: timedelta) -> str:
    """In the largest unit that still says something."""
    milliseconds = lasted / timedelta(milliseconds=1)
    if milliseconds < 1000:
        return gettext("%(count).0f ms") % {"count": milliseconds}
    seconds = milliseconds / 1000
    if seconds < 120:
        return gettext("%(count).1f s") % {"count": seconds}
    if seconds < 2 * 3600:
        return gettext("%(count).0f min") % {"count": seconds / 60}
    if seconds < 48 * 3600:
        return gettext("%(count).0f h") % {"count": seconds / 3600}
    return gettext("%(count).0f days") % {"count": seconds / 86_400}
