"""Turns cases and plans into set-based writes: rows in the order of their columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from persistence.contract.errors import DomainFailure
from persistence.contract.events import EventKind
from persistence.savers.combat import statements
from persistence.savers.combat.cases import Case
from persistence.savers.combat.rows import (
    BalanceKey,
    BalanceRow,
    Discrepancy,
    ItemRow,
    LedgerEntry,
    Plan,
)
from persistence.worker import events as worker_events
from persistence.worker import sql
from persistence.worker.events import NewEvent
from persistence.worker.sql import Write

Ending = tuple[str, DomainFailure | None]
"""The status a case ends in, and why where it failed."""

MAX_SUBJECT = 200
"""Characters of the column."""

HISTORY_BINARY = frozenset({1, 4, 6, 9, 10})
"""Columns of INSERT_HISTORY that travel as binary arrays: see `worker.sql`."""


def history_row(case: Case, ending: Ending) -> tuple[Any, ...]:
    status, failure = ending
    return (
        case.session_id,
        sql.array(case.participants),
        case.finished_at,
        status,
        case.text,
        case.sha256,
        case.raw,
        case.received_at,
        *_why(failure),
    )


def _why(failure: DomainFailure | None) -> tuple[str | None, str | None, str]:
    """Code, detail and subject; of a subject what a column can hold."""
    if failure is None:
        return None, None, ""
    subject = failure.subject.encode("utf-8", "backslashreplace").decode()
    return failure.code, failure.detail, subject.replace("\0", r"\0")[:MAX_SUBJECT]


def finish_pending(cases: Iterable[Case], endings: Mapping[UUID, Ending]) -> Write:
    rows = []
    for case in cases:
        status, failure = endings[case.session_id]
        rows.append((case.session_id, status, case.sha256, *_why(failure)))
    return Write(
        statements.FINISH_PENDING, rows, frozenset({4, 5}), every_row="combat_history"
    )


def finish_requests(cases: Iterable[Case], endings: Mapping[UUID, Ending]) -> Write:
    """The answer to whoever asked for a replay."""
    rows = []
    for case in cases:
        status, failure = endings[case.session_id]
        code, detail, _subject = _why(failure)
        rows.append((case.session_id, status, code, detail))
    return Write(statements.FINISH_REQUESTS, rows, frozenset({3}))


def released_belts(cases: Iterable[Case], endings: Mapping[UUID, Ending]) -> Write:
    """Belts of the settled combats; a failed one keeps its own, to be replayed."""
    # A row a player and not one a combat: only rows of players whom this transaction
    # has locked are written; a piece that was traded away meanwhile is the sweep's.
    rows = [
        (case.session_id, char_id)
        for case in cases
        if case.payload is not None and endings[case.session_id][1] is None
        for char_id in case.payload.players()
    ]
    return Write(statements.RELEASE_BELTS, rows)


def participants(cases: Sequence[Case]) -> list[Write]:
    players = [
        (char_id, case.finished_at, case.session_id)
        for case in cases
        for char_id in case.participants
    ]
    fight_logs = [(c.session_id, c.fight_log) for c in cases if c.fight_log is not None]
    return [
        Write(statements.INSERT_PARTICIPANTS, players),
        Write(statements.INSERT_FIGHT_LOGS, fight_logs, frozenset({1})),
    ]


def events(cases: Iterable[Case], endings: Mapping[UUID, Ending], plan: Plan) -> Write:
    """What became true of these; of one that only waits nothing did."""
    lines, shortages = defaultdict(list), defaultdict(list)
    for line in plan.ledger:
        lines[line.session_id].append(line)
    for shortage in plan.discrepancies:
        shortages[shortage.session_id].append(shortage)
    new: list[NewEvent] = []
    # In the order of the plan.
    for case in sorted(cases, key=attrgetter("finished_at", "session_id")):
        status, failure = endings[case.session_id]
        ids, revision = case.participants, case.revision
        if failure:
            failed = worker_events.failure(case.session_id, ids, revision, failure.code)
            new.append(failed)
        elif status == "processed":
            body = {"revision": revision, "characters": moved(lines[case.session_id])}
            new.append(NewEvent(EventKind.SETTLED, case.session_id, ids, body))
            new += discrepancies(shortages[case.session_id])
    return worker_events.record(new)


def moved(lines: Iterable[LedgerEntry]) -> dict[str, dict[str, Any]]:
    """What every character has gained, by its id."""
    return {str(line.character_id): _gained(line) for line in lines}


def _gained(line: LedgerEntry) -> dict[str, Any]:
    gained: dict[str, Any] = {"xp": line.xp_delta, "gold": line.gold_delta}
    if line.balances:
        gained["balances"] = {id_: m["delta"] for id_, m in line.balances.items()}
    return gained


def discrepancies(
    shortages: Iterable[Discrepancy], op_id: str | None = None
) -> Iterator[NewEvent]:
    """`op_id`: of the operation of the game that they are of, instead of a combat."""
    for one in shortages:
        body = {
            "revision": one.revision,
            "code": one.code,
            "inventory_id": one.inventory_id,
            "item_template_id": one.item_template_id,
            "balance_id": one.balance_id,
            "wanted": one.wanted,
            "applied": one.applied,
        }
        subject = one.session_id if op_id is None else op_id
        yield NewEvent(EventKind.DISCREPANCY, subject, [one.character_id], body)


def effects(plan: Plan, insert_lines: str = statements.INSERT_LEDGER) -> list[Write]:
    """Net changes of locked rows, and the lines that say what was done."""
    return [
        *_characters(plan),
        balances(plan.balances),
        *_inventory(plan),
        *records(plan.ledger, plan.discrepancies, insert_lines),
    ]


def _characters(plan: Plan) -> list[Write]:
    rows = [
        (c.id, c.xp, c.gold, c.hp, c.energy, c.vitals_at, c.vitals_session_id)
        for c in plan.characters.values()
    ]
    # `every_row`: a row that this does not meet was locked and is gone all the same.
    # Its ledger line would speak of a balance that nobody has: the batch rolls back.
    return [Write(statements.UPDATE_CHARACTERS, rows, every_row="characters")]


def balances(rows: Mapping[BalanceKey, BalanceRow]) -> Write:
    """New amounts, of characters that the caller has locked."""
    amounts = [(*key, row.amount) for key, row in rows.items()]
    return Write(statements.WRITE_BALANCES, amounts, frozenset({1}))


def _inventory(plan: Plan) -> list[Write]:
    updated = [(i.id, i.quantity, i.durability) for i in plan.updated.values()]
    removed = [(row_id,) for row_id in sorted(plan.removed)]
    inserted = [
        (
            i.id,
            i.character_id,
            i.item_template_id,
            i.quantity,
            i.durability,
            i.max_durability,
            i.origin_session_id,
            properties(i),
        )
        for i in plan.inserted.values()
    ]
    return [
        Write(statements.UPDATE_ITEMS, updated, every_row="inventory"),
        Write(statements.DELETE_ITEMS, removed, every_row="inventory"),
        Write(statements.INSERT_ITEMS, inserted, frozenset({2, 7})),
    ]


def properties(row: ItemRow) -> str | None:
    """As a statement takes them."""
    return None if row.properties is None else to_json(row.properties).decode()


def records(
    lines: Iterable[LedgerEntry],
    shortages: Iterable[Discrepancy],
    insert_lines: str = statements.INSERT_LEDGER,
) -> list[Write]:
    """`insert_lines`: says of which kind the ledger lines are."""
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
            to_json(line.balances).decode() if line.balances else None,
        )
        for line in lines
    ]
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
            d.balance_id,
        )
        for d in shortages
    ]
    return [
        Write(insert_lines, ledger, frozenset({7, 8})),
        Write(statements.INSERT_DISCREPANCIES, discrepancies, frozenset({5, 8})),
    ]
