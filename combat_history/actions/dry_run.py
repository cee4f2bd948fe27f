"""Dry runs of replays: the worker's own planner over the rows as they are now.

Everything is locked, planned, and rolled back. The fingerprint names the state that was
seen; a replay that carries it runs on that state or refuses. Of many combats as many
are looked at as a batch of the worker's may hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import F, Func, IntegerField, QuerySet
from psycopg import Cursor

from combat_history.models import CombatHistory
from persistence.contract.document import Document, canonical_json
from persistence.savers.combat import statements
from persistence.savers.combat.cases import Case, read_document, read_row
from persistence.savers.combat.rows import Discrepancy, LedgerEntry, Plan
from persistence.savers.combat_saver import CombatStateSaver
from persistence.worker import sql
from persistence.worker.transactions import open_cursor


@dataclass(frozen=True, slots=True)
class DryRun:
    """Either `failure`, as (code, detail), or the ledger lines that would be written.

    `fingerprint` is None where the document itself cannot be read.
    """

    session_id: UUID
    revision: int
    fingerprint: str | None
    failure: tuple[str, str] | None
    lines: Sequence[LedgerEntry]
    shortages: Sequence[Discrepancy]


def dry_run(session_id: UUID, *, fail_on_shortage: bool) -> DryRun:
    """Plan what settling the document that stands would do now.

    Raises LookupError for a session without a row.
    """
    with open_cursor() as cursor:
        try:
            return _rehearse(cursor, _case(cursor, session_id), fail_on_shortage)
        finally:
            transaction.set_rollback(True)


def dry_run_of(
    session_id: UUID, document: Document, *, fail_on_shortage: bool
) -> DryRun:
    """Plan what settling a correction would do that nobody has written yet.

    Its revision is the next one.
    """
    with open_cursor() as cursor:
        try:
            standing = _case(cursor, session_id)
            case = read_document(
                document,
                canonical_json(document),
                session_id=session_id,
                sha256=None,
                received_at=standing.received_at,
            )
            case.revision = standing.revision + 1
            case.finished_at = standing.finished_at
            case.is_approved = standing.is_approved
            return _rehearse(cursor, case, fail_on_shortage)
        finally:
            transaction.set_rollback(True)


MAX_COMBATS = 500
MAX_PLAYERS = 5_000
MAX_BYTES = 4 * 1024 * 1024
"""Of combats of one dry run, of their players and documents, beyond its first one."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What settling combats one after the other would lead to now.

    `short`: those of the settled ones that something falls short of. `failures`: how
    many fail for what, as code and subject, the most first.
    """

    combats: int
    settled: int
    short: int
    failures: list[tuple[tuple[str, str], int]]


def outlook(rows: QuerySet[CombatHistory], *, fail_on_shortage: bool) -> Outlook:
    """Plan the first of `rows` together; a few statements, however many they are."""
    chosen = _within_bounds(rows)
    with open_cursor() as cursor:
        try:
            found = sql.fetch(cursor, statements.LOCK_HISTORY, [sql.array(chosen)])
            cases = [read_row(row) for row in found]
            saver = CombatStateSaver(cursor, fail_on_shortage=fail_on_shortage)
            return _outlook(cases, saver.rehearse_all(cases))
        finally:
            transaction.set_rollback(True)


def _within_bounds(rows: QuerySet[CombatHistory]) -> list[UUID]:
    size = Func(
        F("result_payload"), function="pg_column_size", output_field=IntegerField()
    )
    weighed = rows.annotate(size=size, players=F("participant_ids__len")).values_list(
        "session_id", "players", "size"
    )
    chosen: list[UUID] = []
    players = stored = 0
    for session_id, more_players, more_stored in weighed[:MAX_COMBATS]:
        players += more_players
        stored += more_stored
        if chosen and (players > MAX_PLAYERS or stored > MAX_BYTES):
            break
        chosen.append(session_id)
    return chosen


def _outlook(cases: Sequence[Case], plan: Plan) -> Outlook:
    failures = [
        failure
        for case in cases
        if (failure := case.failure or plan.failures.get(case.session_id))
    ]
    short = {lack.session_id for lack in plan.discrepancies}
    causes = Counter((failure.code, failure.subject) for failure in failures)
    settled = len(cases) - len(failures)
    return Outlook(len(cases), settled, len(short), causes.most_common())


def _case(cursor: Cursor[sql.Row], session_id: UUID) -> Case:
    rows = sql.fetch(cursor, statements.LOCK_HISTORY, [sql.array([session_id])])
    if not rows:
        raise LookupError(f"combat {session_id} is not in the history")
    return read_row(rows[0])


def _rehearse(cursor: Cursor[sql.Row], case: Case, fail_on_shortage: bool) -> DryRun:
    saver = CombatStateSaver(cursor, fail_on_shortage=fail_on_shortage)
    plan, seen = saver.rehearse(case)
    failure = case.failure or plan.failures.get(case.session_id)
    return DryRun(
        case.session_id,
        case.revision,
        seen,
        (failure.code, failure.detail) if failure else None,
        plan.ledger,
        plan.discrepancies,
    )
