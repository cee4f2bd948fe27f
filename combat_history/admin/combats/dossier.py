"""Everything known of one combat, as its page tells it.

A fixed number of queries, and a bounded number of rows of each kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions import audit
from combat_history.actions.replay import PERMISSION as REPLAY_PERMISSION
from combat_history.admin import catalogue, movements, sides, timeline
from combat_history.admin.combats.rail import stations
from combat_history.admin.naming import Names, names
from combat_history.admin.rendering import badges, bytes_as_text, cut, pretty, visible
from combat_history.admin.review.failures import group_url
from combat_history.admin.review.rules import held_by
from combat_history.insight import explain
from combat_history.insight.failures import Cause
from combat_history.models import (
    AuditEntry,
    CombatHistory,
    CombatRevision,
    LedgerLine,
    ReplayRequest,
    SettlementAttempt,
    SettlementDiscrepancy,
    SettlementFailure,
    Status,
)
from combat_history.reading.outcomes import winner_of
from persistence.contract.errors import FailureCode
from persistence.contract.ids import short_id
from persistence.savers.combat.rows import Discrepancy

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

RECORDS: dict[str, str | _StrPromise] = {
    "ledgerline": _("Ledger"),
    "settlementdiscrepancy": _("Discrepancies"),
    "settlementattempt": _("Attempts"),
    "settlementfailure": _("Failures"),
    "rejectedpayload": _("Rejected and conflicting documents"),
}
"""Lists that hold more of a combat."""

RENEW_SECONDS = 2
"""How often the page of a combat that waits asks whether it still does."""

MAX_RECORDS = 100
"""How many of each kind a page shows; the rest is in the kind's own list."""


@dataclass(frozen=True, slots=True)
class Lack:
    """`code` belongs to the label; `subject`: the item that was short, if any."""

    code: str
    player: SafeString
    label: str | _StrPromise
    meaning: str | _StrPromise
    subject: str
    wanted: int
    applied: int


@dataclass(frozen=True, slots=True)
class Difference:
    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Revision:
    number: int
    author: str
    reason: str
    is_applied: bool
    differences: list[Difference]


def context(row: CombatHistory, user: User | AnonymousUser) -> dict[str, Any]:
    """Template context for a combat's page. The audit is for who may view it."""
    lines, more_lines = _first(LedgerLine.objects.filter(session_id=row.pk))
    lacks, more_lacks = _first(SettlementDiscrepancy.objects.filter(session_id=row.pk))
    attempts, more_attempts = _first(
        SettlementAttempt.objects.filter(session_id=row.pk)
    )
    requests, more_requests = _first(ReplayRequest.objects.filter(session_id=row.pk))
    revisions, more_revisions = _first(
        CombatRevision.objects.filter(session_id=row.pk).defer("document")
    )
    failures, more_failures = _failures(row)
    entries, more_entries = _audit(row, user)
    document = _document_in_force(row)
    known = _names(document, lines, lacks)
    return {
        **_summary(row, document),
        "stations": stations(row, attempts, requests, revisions),
        "sides": sides.sides_of(document, known),
        "is_settled": row.settlement_status == Status.PROCESSED,
        "failure": _failure(row),
        "held": _held(row, known, user),
        "earlier": _earlier(row, failures),
        "waits": _waits(row, requests),
        "preview_again_url": _preview_again_url(row, requests, user),
        "missing": catalogue.missing(row.failure_code or "", document, known, user)
        if row.settlement_status == Status.FAILED
        else [],
        "lines": [movements.line_of(line, known) for line in lines],
        "more_lines": more_lines,
        "lacks": [lack_of(lack, known) for lack in lacks],
        "more_lacks": more_lacks,
        "events": timeline.events_of(
            row, attempts, failures, requests, entries, revisions
        ),
        "more_events": any(
            (more_attempts, more_failures, more_requests, more_entries, more_revisions)
        ),
        "revisions": [_revision(entry, row) for entry in revisions],
        "beside": _beside(row, requests, user),
        "document": pretty(row.result_payload),
        "raw_document": bytes_as_text(bytes(row.raw_payload))
        if row.raw_payload is not None
        else "",
    }


def lack_of(lack: SettlementDiscrepancy | Discrepancy, known: Names) -> Lack:
    """Also of one that a dry run foresees."""
    words = explain.discrepancy(lack.code)
    item = known.item(lack.item_template_id) if lack.item_template_id else ""
    if lack.balance_id:
        item = known.balance(lack.balance_id)
    row = f"#{lack.inventory_id}" if lack.inventory_id is not None else ""
    return Lack(
        code=visible(lack.code),
        player=known.player(lack.character_id),
        label=words.label,
        meaning=words.meaning,
        subject=f"{item} {row}".strip(),
        wanted=lack.wanted,
        applied=lack.applied,
    )


def _first(queryset: QuerySet[Any]) -> tuple[list[Any], bool]:
    rows = list(queryset.order_by("pk")[: MAX_RECORDS + 1])
    return rows[:MAX_RECORDS], len(rows) > MAX_RECORDS


def _failures(row: CombatHistory) -> tuple[list[SettlementFailure], bool]:
    if row.failed_at is None:
        return [], False
    return _first(SettlementFailure.objects.filter(session_id=row.pk))


def _audit(
    row: CombatHistory, user: User | AnonymousUser
) -> tuple[list[AuditEntry], bool]:
    if not user.has_perm("combat_history.view_auditentry"):
        return [], False
    entries = audit.about(str(row.pk)).filter(target_type=timeline.AUDIT_TARGET)
    return _first(entries.defer("before", "after", "members"))


def _document_in_force(row: CombatHistory) -> object:
    """The one whose effects are applied, or would be."""
    if row.revision == 1:
        return row.result_payload
    corrected = CombatRevision.objects.filter(
        session_id=row.pk, revision=row.revision
    ).first()
    return corrected.document if corrected is not None else row.result_payload


def _names(
    document: object, lines: list[LedgerLine], lacks: list[SettlementDiscrepancy]
) -> Names:
    return names(
        [
            *sides.player_ids(document),
            *(line.character_id for line in lines),
            *(lack.character_id for lack in lacks),
        ],
        [
            *sides.template_ids(document),
            *movements.template_ids(lines),
            *(lack.item_template_id for lack in lacks),
        ],
        [
            *sides.balance_ids(document),
            *movements.balance_ids(lines),
            *(lack.balance_id for lack in lacks),
        ],
    )


def _summary(row: CombatHistory, document: object) -> dict[str, Any]:
    meta = document.get("meta") if isinstance(document, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    reason, winner = meta.get("finish_reason"), winner_of(meta.get("winner_team"))
    settled_at = row.settled_at
    return {
        "badges": badges(row),
        "short_id": short_id(row.pk),
        "finish_reason": explain.FINISH_REASONS.get(reason)
        if isinstance(reason, str)
        else None,
        "winner": None if winner is None else visible(winner[:200]),
        "settled_after": timeline.shown_duration(settled_at - row.received_at)
        if settled_at is not None
        else "",
    }


def _failure(row: CombatHistory) -> dict[str, Any] | None:
    """Why it failed, or had failed when it was given up: then nothing is advised."""
    status = row.settlement_status
    if not row.failure_code or status not in (Status.FAILED, Status.VOIDED):
        return None
    words = explain.failure(row.failure_code)
    return {
        "code": visible(row.failure_code),
        "words": words,
        "remedy": words.remedy if status == Status.FAILED else "",
        "detail": cut(visible(row.failure_detail or "")),
        "traceback": cut(visible(row.failure_traceback or "")),
    }


def _held(
    row: CombatHistory, known: Names, user: User | AnonymousUser
) -> dict[str, Any] | None:
    """What is beyond a review rule, beside what is usual: for who may view rules."""
    if not user.has_perm("combat_history.view_reviewrule"):
        return None
    found = held_by(row)
    if found is None:
        return None
    told, rule = found
    return {
        "told": told,
        "rule": rule,
        "item": known.item(told.item) if told.item else "",
        "player": known.player(told.character_id),
        "url": reverse("admin:combat_history_reviewrule_change", args=[rule.pk]),
    }


def _earlier(
    row: CombatHistory, failures: list[SettlementFailure]
) -> timeline.Event | None:
    """The cause that is older than what the page tells now, if the combat has one."""
    if row.settlement_status == Status.FAILED:
        causes = [f for f in failures if f.code != FailureCode.STATE_MOVED]
        is_refused = row.failure_code == FailureCode.STATE_MOVED
        return timeline.of_failure(causes[-1]) if is_refused and causes else None
    is_open = row.settlement_status == Status.PENDING
    return timeline.of_failure(failures[-1]) if is_open and failures else None


def _waits(row: CombatHistory, requests: list[ReplayRequest]) -> dict[str, Any] | None:
    """That it is in the queue, and who has put it back there."""
    if row.settlement_status != Status.PENDING:
        return None
    queued = [r for r in requests if r.state == ReplayRequest.State.QUEUED]
    return {
        "request": queued[-1] if queued else None,
        "url": reverse("admin:combat_history_combathistory_status", args=[row.pk]),
        "seconds": RENEW_SECONDS,
    }


def _preview_again_url(
    row: CombatHistory, requests: list[ReplayRequest], user: User | AnonymousUser
) -> str | None:
    """The preview that a refused replay asks for, on the terms of that replay."""
    is_failed = row.settlement_status == Status.FAILED
    if not is_failed or row.failure_code != FailureCode.STATE_MOVED:
        return None
    if not user.has_perm(REPLAY_PERMISSION):
        return None
    url = reverse("admin:combat_history_combathistory_preview", args=[row.pk])
    policies = [r.shortages for r in requests if r.shortages]
    return f"{url}?shortages={policies[-1]}" if policies else url


def _revision(entry: CombatRevision, row: CombatHistory) -> Revision:
    return Revision(
        number=entry.revision,
        author=visible(entry.author_name),
        reason=visible(entry.reason),
        is_applied=entry.revision == row.revision,
        differences=differences(entry.diff),
    )


def differences(found: Sequence[object]) -> list[Difference]:
    """Each value as JSON: the quotes tell a text from a number."""
    return [
        Difference(
            path=visible(str(change.get("path", ""))),
            before=_side(change, "before"),
            after=_side(change, "after"),
        )
        for change in found[:MAX_RECORDS]
        if isinstance(change, dict)
    ]


def _side(change: dict[str, Any], side: str) -> str:
    return pretty(change[side]) if side in change else gettext("not there")


def _batch_url(requests: list[ReplayRequest], user: User | AnonymousUser) -> str | None:
    """To the batch that replayed it last."""
    if not user.has_perm("combat_history.view_replaybatch"):
        return None
    batches = [request.batch_id for request in requests if request.batch_id]
    if not batches:
        return None
    return reverse("admin:combat_history_replaybatch_change", args=[batches[-1]])


def _beside(
    row: CombatHistory, requests: list[ReplayRequest], user: User | AnonymousUser
) -> list[tuple[str, str | _StrPromise]]:
    """Addresses and names of what is related: its group, its batch, its records."""
    found: list[tuple[str, str | _StrPromise]] = []
    if row.settlement_status == Status.FAILED and row.failure_code:
        cause = Cause(row.failure_code, row.failure_subject)
        found.append((group_url(cause), _("All that failed for the same")))
    if url := _batch_url(requests, user):
        found.append((url, _("Replay batch")))
    for model, label in RECORDS.items():
        if user.has_perm(f"combat_history.view_{model}"):
            url = reverse(f"admin:combat_history_{model}_changelist")
            found.append((f"{url}?q={row.pk}", label))
    if flower := settings.FLOWER_URL.rstrip("/"):
        # Flower puts `name:` before what it is given; the rest narrows to this combat.
        search = quote(f"settle_combat args:{row.pk}")
        found.append((f"{flower}/tasks?name={search}", _("Tasks in Flower")))
    return found
