"""CombatStateSaver: receipt -> lock -> load -> plan -> write (DESIGN of the pipeline).

Tables: combat_history, combat_participants, combat_replay, characters, inventory,
settlement_ledger, settlement_discrepancies, rejected_payloads. Locks, in this order
and nowhere else: known history rows by session id, characters by id, then the keys of
new history rows by session id; a character's lock guards all of its inventory.

New rows are written once, with their final status, after the plan: a session that
another transaction recorded since the look-up raises ReceiptRaced, which rolls the
batch back to be run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic_core import to_json

from persistence.errors import DomainFailure, FailureCode, ReceiptRaced
from persistence.handoff import Receipt
from persistence.outcome import brief
from persistence.payload import canonical_json, digest, parse_document
from persistence.protocols import Delivery, Outcome, Verdict
from persistence.savers import combat_load as load
from persistence.savers import combat_sql as sql
from persistence.savers.combat_cases import (
    Case,
    Rejected,
    conflict,
    read_delivery,
    read_row,
)
from persistence.savers.combat_plan import plan_batch
from persistence.savers.combat_rows import Combat, Plan

if TYPE_CHECKING:
    from psycopg import Cursor

PENDING, PROCESSED, FAILED = "pending", "processed", "failed"


class CombatStateSaver:
    """Settles combats inside the transaction that the caller holds open.

    Never commits, retries or splits. Idempotent by session id: a session that is
    terminal is left as it is and reported as a duplicate. `fail_on_shortage` turns
    discrepancies into failures.
    """

    def __init__(self, cursor: Cursor[sql.Row], *, fail_on_shortage: bool) -> None:
        self._cursor = cursor
        self._fail_on_shortage = fail_on_shortage

    def settle(self, batch: Sequence[Delivery]) -> list[Verdict]:
        """Settle deliveries of distinct sessions; one verdict each, in any order."""
        intake = self._receive(batch)
        plan = self._plan([*intake.fresh, *intake.waiting])
        self._write_history(intake, plan)
        self._write_effects(plan)
        self._reject(intake.rejected)
        return [*intake.verdicts, *_verdicts(intake, plan)]

    def receive(self, deliveries: Sequence[Delivery]) -> dict[UUID, Receipt]:
        """Write `pending` receipts without effects; the answer is PostgreSQL's own.

        A known session keeps its document; another one is recorded as a conflict.
        What cannot become a row is rejected and has no receipt.
        """
        now = datetime.now(UTC)
        read = [read_delivery(delivery, now) for delivery in deliveries]
        cases = [case for case in read if isinstance(case, Case)]
        recorded = self._insert_history(
            [_history_row(case, PENDING, None) for case in cases], cases
        )
        known = self._hashes(
            [c.session_id for c in cases if c.session_id not in recorded]
        )
        rejected = [case for case in read if isinstance(case, Rejected)]
        receipts = dict.fromkeys(recorded, Receipt.ACCEPTED)
        for delivery in deliveries:
            if delivery.session_id not in known:
                continue
            if _differs(delivery, known[delivery.session_id]):
                receipts[delivery.session_id] = Receipt.CONFLICT
                rejected.append(_as_conflict(delivery))
            else:
                receipts[delivery.session_id] = Receipt.DUPLICATE
        self._reject(rejected)
        return receipts

    def reject(self, delivery: Delivery, code: str, message: str) -> Verdict:
        """Keep the bytes of a document that no row can hold."""
        rejected = Rejected(
            delivery.session_id,
            delivery.sha256,
            code,
            [{"path": "", "message": message}],
            delivery.raw,
        )
        self._reject([rejected])
        return Verdict(delivery.session_id, Outcome.REJECTED, code, message)

    def reject_unidentified(
        self, raw: bytes, sha256: str, code: str, errors: list[dict[str, str]]
    ) -> None:
        """Keep what names no session; the same bytes are one row."""
        self._reject([Rejected(None, sha256, code, errors, raw)])

    def _hashes(self, session_ids: Sequence[UUID]) -> dict[UUID, str]:
        if not session_ids:
            return {}
        ids = sql.array(session_ids)
        rows = sql.fetch(self._cursor, sql.LOCK_HISTORY, [ids])
        return {row[0]: row[2] or _hash_of(row) for row in rows}

    def _reject(self, rejected: Iterable[Rejected]) -> None:
        # Once per key: ON CONFLICT cannot meet the same row twice in one statement.
        unique = {(r.session_id, r.sha256): r for r in rejected}
        rows = [
            (r.session_id, r.sha256, r.code, to_json(r.errors).decode(), r.raw)
            for r in unique.values()
        ]
        sql.write(self._cursor, sql.RECORD_REJECTED, rows, frozenset({3, 4}))

    def _receive(self, batch: Sequence[Delivery]) -> _Intake:
        now = datetime.now(UTC)
        ids = sql.array(delivery.session_id for delivery in batch)
        known = {
            row[0]: row for row in sql.fetch(self._cursor, sql.LOCK_HISTORY, [ids])
        }
        intake = _Intake()
        for delivery in batch:
            intake.rejected += [
                conflict(delivery.session_id, sha256, raw)
                for sha256, raw in delivery.conflicts.items()
            ]
            row = known.get(delivery.session_id)
            if row is None:
                intake.add_new(delivery, read_delivery(delivery, now))
            else:
                intake.add_known(delivery, row, now)
        return intake

    def _plan(self, cases: Sequence[Case]) -> Plan:
        combats = [_combat(case) for case in cases if case.payload is not None]
        if not combats:
            return Plan()
        catalogue = load.catalogue(self._cursor, combats)
        world = load.locked_world(self._cursor, combats, catalogue)
        return plan_batch(
            combats,
            world,
            catalogue,
            load.reserved_ids(self._cursor, combats, catalogue),
            fail_on_shortage=self._fail_on_shortage,
        )

    def _write_history(self, intake: _Intake, plan: Plan) -> None:
        rows = [_history_row(case, *_ending(case, plan)) for case in intake.fresh]
        recorded = self._insert_history(rows, intake.fresh)
        if len(recorded) != len(rows):
            raise ReceiptRaced(
                [
                    str(c.session_id)
                    for c in intake.fresh
                    if c.session_id not in recorded
                ]
            )
        finished = [_finish_row(case, *_ending(case, plan)) for case in intake.waiting]
        updated = sql.write(self._cursor, sql.FINISH_PENDING, finished, _FINISH_BINARY)
        _expect(updated, finished, "combat_history")
        self._write_participants(intake.waiting)

    def _insert_history(
        self, rows: Sequence[Sequence[Any]], cases: Sequence[Case]
    ) -> set[UUID]:
        if not rows:
            return set()
        recorded = sql.fetch(
            self._cursor, sql.INSERT_HISTORY, sql.columns(rows, _HISTORY_BINARY)
        )
        self._write_participants(cases)
        return {row[0] for row in recorded}

    def _write_participants(self, cases: Sequence[Case]) -> None:
        participants = [
            (char_id, case.finished_at, case.session_id)
            for case in cases
            for char_id in case.participants
        ]
        sql.write(self._cursor, sql.INSERT_PARTICIPANTS, participants)
        replays = [
            (case.session_id, case.replay) for case in cases if case.replay is not None
        ]
        sql.write(self._cursor, sql.INSERT_REPLAYS, replays, frozenset({1}))

    def _write_effects(self, plan: Plan) -> None:
        characters = [
            (c.id, c.xp, c.gold, c.hp, c.energy, c.vitals_at, c.vitals_session_id)
            for c in plan.characters.values()
        ]
        updated = sql.write(self._cursor, sql.UPDATE_CHARACTERS, characters)
        _expect(updated, characters, "characters")
        items = [(i.id, i.quantity, i.durability) for i in plan.updated.values()]
        _expect(sql.write(self._cursor, sql.UPDATE_ITEMS, items), items, "inventory")
        if plan.removed:
            self._cursor.execute(sql.DELETE_ITEMS, [sql.array(sorted(plan.removed))])
            _expect(self._cursor.rowcount, plan.removed, "inventory")
        inserted = [
            (
                i.id,
                i.character_id,
                i.item_template_id,
                i.quantity,
                i.durability,
                i.max_durability,
                i.origin_session_id,
            )
            for i in plan.inserted.values()
        ]
        sql.write(self._cursor, sql.INSERT_ITEMS, inserted, frozenset({2}))
        ledger = [
            (
                line.session_id,
                line.revision,
                line.character_id,
                line.xp_delta,
                line.gold_delta,
                line.xp_after,
                line.gold_after,
                to_json(line.items).decode(),
            )
            for line in plan.ledger
        ]
        sql.write(self._cursor, sql.INSERT_LEDGER, ledger, frozenset({7}))
        discrepancies = [
            (
                d.session_id,
                d.revision,
                d.character_id,
                d.code,
                d.inventory_id,
                d.item_template_id,
                d.wanted,
                d.applied,
            )
            for d in plan.discrepancies
        ]
        sql.write(self._cursor, sql.INSERT_DISCREPANCIES, discrepancies, frozenset({5}))


class _Intake:
    """A batch sorted by what its sessions already are."""

    def __init__(self) -> None:
        self.fresh: list[Case] = []
        self.waiting: list[Case] = []
        self.rejected: list[Rejected] = []
        self.verdicts: list[Verdict] = []

    def add_new(self, delivery: Delivery, case: Case | Rejected) -> None:
        if isinstance(case, Case):
            self.fresh.append(case)
            return
        self.rejected.append(case)
        detail = "; ".join(error["message"] for error in case.errors)
        self.verdicts.append(
            Verdict(delivery.session_id, Outcome.REJECTED, case.code, detail)
        )

    def add_known(self, delivery: Delivery, row: Sequence[Any], now: datetime) -> None:
        differs = _differs(delivery, row[2] or _hash_of(row))
        if differs:
            self.rejected.append(_as_conflict(delivery))
        if row[1] == PENDING:
            self.waiting.append(read_row(row, now))
        else:
            conflicting = differs or bool(delivery.conflicts)
            self.verdicts.append(_terminal(row, conflicting=conflicting))


def _terminal(row: Sequence[Any], *, conflicting: bool) -> Verdict:
    session_id, status, text = row[0], row[1], row[5]
    return Verdict(
        session_id,
        Outcome.CONFLICT if conflicting else Outcome.DUPLICATE,
        code=str(FailureCode.PAYLOAD_CONFLICT) if conflicting else "",
        detail=f"already {status}",
        tombstone=brief(parse_document(text.encode())) if status == PROCESSED else None,
    )


def _differs(delivery: Delivery, sha256: str) -> bool:
    return delivery.raw is not None and delivery.sha256 != sha256


def _as_conflict(delivery: Delivery) -> Rejected:
    return conflict(delivery.session_id, delivery.sha256, delivery.raw)


def _hash_of(row: Sequence[Any]) -> str:
    """The identity of a row that was written without one (three-column INSERT)."""
    return digest(canonical_json(parse_document(row[5].encode())))


def _combat(case: Case) -> Combat:
    assert case.payload is not None
    return Combat(case.session_id, case.finished_at, case.payload, case.revision)


def _ending(case: Case, plan: Plan) -> tuple[str, DomainFailure | None]:
    failure = case.failure or plan.failures.get(case.session_id)
    return (FAILED, failure) if failure else (PROCESSED, None)


_HISTORY_BINARY = frozenset({1, 4, 6, 9})


def _history_row(
    case: Case, status: str, failure: DomainFailure | None
) -> tuple[Any, ...]:
    return (
        case.session_id,
        sql.array(case.participants),
        case.finished_at,
        status,
        case.text,
        case.sha256,
        case.raw,
        case.received_at,
        failure.code if failure else None,
        failure.detail if failure else None,
    )


_FINISH_BINARY = frozenset({4})


def _finish_row(
    case: Case, status: str, failure: DomainFailure | None
) -> tuple[Any, ...]:
    return (
        case.session_id,
        status,
        case.sha256,
        failure.code if failure else None,
        failure.detail if failure else None,
    )


def _verdicts(intake: _Intake, plan: Plan) -> Iterator[Verdict]:
    for case in (*intake.fresh, *intake.waiting):
        _, failure = _ending(case, plan)
        if failure is not None:
            yield Verdict(case.session_id, Outcome.FAILED, failure.code, failure.detail)
        else:
            yield Verdict(
                case.session_id, Outcome.PROCESSED, tombstone=brief(case.document)
            )


def _expect(count: int, rows: Sequence[Any] | set[int], table: str) -> None:
    """Locked rows cannot vanish: a miscount means a rule was broken, so roll back."""
    if count != len(rows):
        raise RuntimeError(f"wrote {count} rows of {table}, planned {len(rows)}")
