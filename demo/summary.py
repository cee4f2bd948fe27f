"""The tables against the journal: one line a kind, and every difference in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from statistics import quantiles

from combat_history.models import (
    CombatHistory,
    LedgerLine,
    RejectedPayload,
    SettlementDiscrepancy,
    Status,
)
from demo.adventure_summary import compare_adventures
from demo.journal import Record
from demo.model import differences, foretell
from demo.shortages import Shortage
from demo.submission import Door, Kind, Outcome, Submission
from demo.verdict import Summary
from demo.world import read_balances


def summarise(record: Record) -> Summary:
    """Compare what the journal foretells with what PostgreSQL holds now."""
    summary = Summary()
    sent = record.submissions
    combats = [s for s in sent if s.is_combat]
    rows = _Rows(combats)
    _compare_combats(summary, combats, rows)
    _compare_conflicts(summary, sent)
    _compare_duplicates(summary, sent, rows)
    _compare_late(summary, sent, rows)
    _compare_discrepancies(summary, combats)
    _compare_balances(summary, record)
    compare_adventures(summary, record)
    summary.timing = _timing(record, rows)
    return summary


class _Rows:
    """What PostgreSQL holds of the sessions of this run."""

    def __init__(self, combats: Iterable[Submission]) -> None:
        sessions = [s.session_id for s in combats if s.outcome is not Outcome.REJECTED]
        self.history = {
            str(row.session_id): row
            for row in CombatHistory.objects.filter(session_id__in=sessions).defer(
                "result_payload"
            )
        }
        self.ledger: dict[str, Counter[int]] = {}
        lines = LedgerLine.objects.filter(session_id__in=sessions)
        for session_id, character in lines.values_list("session_id", "character_id"):
            self.ledger.setdefault(str(session_id), Counter())[character] += 1
        hashes = [s.sha256 for s in combats if s.outcome is Outcome.REJECTED]
        self.rejected = dict(
            RejectedPayload.objects.filter(
                session_id=None, payload_sha256__in=hashes
            ).values_list("payload_sha256", "code")
        )

    def ending(self, combat: Submission) -> str:
        """How a combat ended, in the words of the table's first column."""
        if combat.outcome is Outcome.REJECTED:
            code = self.rejected.get(combat.sha256)
            return f"rejected: {code}" if code else "unaccounted"
        row = self.history.get(combat.session_id)
        if row is None:
            return "unaccounted"
        if row.settlement_status == Status.FAILED:
            return f"failed: {row.failure_code}"
        return row.settlement_status

    def is_applied_once(self, combat: Submission) -> bool:
        """One ledger line for every player of a fight, or none where none is due."""
        return self.ledger.get(combat.session_id, Counter()) == Counter(
            combat.gains.keys()
        )


def _expected(combat: Submission) -> str:
    code = f": {combat.code}" if combat.code else ""
    return f"{combat.outcome}{code}"


def _compare_combats(summary: Summary, combats: list[Submission], rows: _Rows) -> None:
    found = [rows.ending(combat) for combat in combats]
    expected = [_expected(combat) for combat in combats]
    accounted = sum(
        ending != "unaccounted" and rows.is_applied_once(combat)
        for combat, ending in zip(combats, found, strict=True)
    )
    summary.lines.append(("combats accounted for once", len(combats), accounted))
    want, have = Counter(expected), Counter(found)
    # Processed first, then failures and rejections by code.
    for ending in sorted(want | have, key=lambda e: (":" in e, e)):
        summary.lines.append((f"  {ending}", want[ending], have[ending]))
    for combat, wanted, ending in zip(combats, expected, found, strict=True):
        if wanted != ending:
            summary.problems.append(
                f"combat {combat.session_id}: expected {wanted}, found {ending}"
            )
        if not rows.is_applied_once(combat):
            lines = dict(rows.ledger.get(combat.session_id, {}))
            summary.problems.append(
                f"combat {combat.session_id}: ledger lines by character {lines}, "
                f"expected one each for {sorted(combat.gains)}"
            )


def _compare_conflicts(summary: Summary, sent: list[Submission]) -> None:
    expected = {(s.session_id, s.sha256) for s in sent if s.outcome is Outcome.CONFLICT}
    kept = RejectedPayload.objects.filter(
        session_id__in={s.session_id for s in sent}, code="payload_conflict"
    ).values_list("session_id", "payload_sha256")
    found = {(str(session_id), sha256) for session_id, sha256 in kept}
    summary.lines.append(("conflicting documents refused", len(expected), len(found)))
    for session_id, sha256 in expected ^ found:
        summary.problems.append(f"combat {session_id}: conflict {sha256} is off")


def _compare_duplicates(summary: Summary, sent: list[Submission], rows: _Rows) -> None:
    repeated = {s.session_id for s in sent if s.outcome is Outcome.DUPLICATE}
    fights = [s for s in sent if s.session_id in repeated and s.is_combat]
    once = sum(
        rows.ending(fight) == "processed" and rows.is_applied_once(fight)
        for fight in fights
    )
    summary.lines.append(("sent repeatedly, applied once", len(repeated), once))


def _compare_late(summary: Summary, sent: list[Submission], rows: _Rows) -> None:
    late = [s for s in sent if s.kind is Kind.LATE]
    overtaken = 0
    for fight in late:
        row = rows.history.get(fight.session_id)
        newer = rows.history.get(fight.after or "")
        if row is not None and newer is not None:
            overtaken += (
                row.finished_at < newer.finished_at
                and row.received_at > newer.received_at
            )
    summary.lines.append(("arrived after a newer fight", len(late), overtaken))


def _compare_discrepancies(summary: Summary, combats: list[Submission]) -> None:
    expected = Counter((c.session_id, s) for c in combats for s in c.shortages)
    lines = SettlementDiscrepancy.objects.filter(
        session_id__in=[c.session_id for c in combats]
    ).values_list(
        "session_id", "code", "character_id", "inventory_id", "wanted", "applied"
    )
    found = Counter((str(line[0]), Shortage(*line[1:])) for line in lines)
    want = Counter(s.code for _, s in expected.elements())
    have = Counter(s.code for _, s in found.elements())
    summary.lines.append(("discrepancies recorded", want.total(), have.total()))
    for code in sorted(want | have):
        summary.lines.append((f"  {code}", want[code], have[code]))
    for session_id, shortage in ((expected - found) | (found - expected)).elements():
        summary.problems.append(f"combat {session_id}: {shortage} is off")


def _compare_balances(summary: Summary, record: Record) -> None:
    # Adventurers are compared with a model of their own.
    opening = {
        char_id: balance
        for char_id, balance in record.opening.items()
        if char_id not in record.adventurers
    }
    expected = foretell(opening, record.submissions)
    off = differences(expected, read_balances())
    right = len(expected) - len(off)
    summary.lines.append(("characters own what they should", len(expected), right))
    for char_id, lines in off.items():
        summary.problems += [f"character {char_id}: {line}" for line in lines]


def _timing(record: Record, rows: _Rows) -> list[str]:
    settled = {
        session_id: row.settled_at
        for session_id, row in rows.history.items()
        if row.settled_at is not None
    }
    if len(settled) < 2:
        return []
    seconds = (max(settled.values()) - min(settled.values())).total_seconds()
    return [
        f"Settled {len(settled)} combats in {seconds:.1f} s.",
        *(
            line
            for door in Door
            if (line := _latency(door, record, settled)) is not None
        ),
    ]


def _latency(door: Door, record: Record, settled: dict[str, datetime]) -> str | None:
    milliseconds = [
        (settled[s.session_id].timestamp() - record.sent_at[s.session_id]) * 1000
        for s in record.submissions
        if s.is_combat and s.door is door and s.session_id in settled
    ]
    if len(milliseconds) < 2:
        return None
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return (
        f"From sending to committed by {door}: p50 {cuts[49]:.0f} ms, "
        f"p95 {cuts[94]:.0f} ms, p99 {cuts[98]:.0f} ms."
    )
