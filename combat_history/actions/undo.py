"""Undo a settled combat, or an operation of the game, by counter-lines.

It stays processed and its lines stay as they are; one counter-line a player takes back
what was given and returns what was taken. hp, energy and location belong to whoever
wrote them last and are left alone.

Tables: combat_history or operations, characters, balances, inventory,
settlement_ledger, settlement_discrepancies, settlement_events, applied_operations,
audit_log. Locks, in the order of the settlement: the row of the combat or operation,
then the characters by id. It is applied once: whether it is undone is asked under the
row's lock, and the ledger takes one counter-line a player and revision.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import psycopg
import redis
from django.db import Error

from combat_history.actions import audit
from combat_history.actions import undo_sql as sql
from combat_history.actions.audit import Act, Outcome
from combat_history.actions.undo_plan import (
    Balance,
    ItemChange,
    Undo,
    plan_undo,
)
from combat_history.models import CombatHistory, Status
from persistence.contract.errors import DomainFailure
from persistence.contract.events import EventKind
from persistence.contract.outcome import undone_tombstone
from persistence.savers.combat import write
from persistence.savers.combat.rows import Discrepancy, LedgerEntry, Template
from persistence.savers.combat.statements import LOAD_TEMPLATES, RESERVE_ITEM_IDS
from persistence.savers.inventory.bag import Item
from persistence.savers.registry import hooks
from persistence.worker import inbox, rings
from persistence.worker.events import NewEvent, record
from persistence.worker.sql import Row, Write, fetch, run
from persistence.worker.transactions import open_cursor

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from psycopg import Cursor

logger = logging.getLogger(__name__)

PERMISSION = "combat_history.compensate_combat"
# As the audit has stored it from the first day; a person reads "undo".
VERB = "compensate"

OnShortage = Literal["refuse", "record"]
"""What to do where a player no longer has what the combat gave."""

# Several statements read: without locks they are of one moment only by a snapshot.
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True, slots=True)
class Kind:
    """What can be undone. `target`: its name in the audit. `read`: by its key.

    `table`: where `mark` writes that it is undone. `event`: what is told of it.
    """

    target: str
    read: str
    mark: str
    table: str
    event: EventKind


COMBAT = Kind(
    "combat",
    sql.READ_HISTORY,
    sql.MARK_UNDONE,
    "combat_history",
    EventKind.UNDONE,
)
"""By its session id."""

OPERATION = Kind(
    "operation",
    sql.READ_OPERATION,
    sql.MARK_OPERATION_UNDONE,
    "operations",
    EventKind.TAKEN_BACK,
)
"""By its op_id."""

Key = UUID | str


class SkipReason(StrEnum):
    PENDING = "pending"
    FAILED = "failed"
    VOIDED = "voided"
    UNDONE = "compensated"  # stored in the audit
    UNKNOWN = "unknown"


class UndoRefused(Exception):
    """Nothing was changed: these things can no longer be undone in full."""

    def __init__(self, key: Key, shortages: Sequence[Discrepancy]) -> None:
        super().__init__(key, shortages)
        self.key = key
        self.shortages = shortages

    def __str__(self) -> str:
        return f"{self.key}: " + _in_words(self.shortages)


@dataclass(frozen=True, slots=True)
class Preview:
    """`undo` is set iff the combat can be undone.

    `is_refused`: under the chosen policy its shortages stand in the way.
    """

    undo: Undo | None
    skipped: SkipReason | None = None
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class UndoResult:
    """The result of an undo. `announced`: no tombstone tells the old one any more."""

    undo: Undo | None
    skipped: SkipReason | None = None
    announced: bool = True


def preview_undo(key: Key, on_shortage: OnShortage, kind: Kind = COMBAT) -> Preview:
    """Plan what undoing it would do now. Locks nothing, writes nothing.

    Rows that would be new have negative ids. Raises DomainFailure like it.
    """
    with open_cursor() as cursor:
        cursor.execute(SNAPSHOT)
        found = _applied(cursor, key, kind.read)
        if isinstance(found, SkipReason):
            return Preview(None, found)
        undo = _plan(cursor, *found, sql.READ_CHARACTERS, lambda _: count(-1, -1))
        refused = on_shortage == "refuse" and bool(undo.shortages)
        return Preview(undo, is_refused=refused)


def undo_combat(
    session_id: UUID, *, actor: User, reason: str, on_shortage: OnShortage
) -> UndoResult:
    """Undo a processed combat, all or nothing; one that is not processed, or undone
    already, is skipped. Every call leaves one audit entry.

    Raises PermissionDenied; UndoRefused where "refuse" meets a shortage;
    DomainFailure where a player is no more; the database's own error; all audited, with
    nothing changed. Raises ValueError for a reason out of bounds.
    """
    reason = _admitted(session_id, COMBAT, actor, reason)
    # Before it is so: who dies after the commit then leaves nothing untrue in Redis.
    announced = _announce(session_id)
    done = _audited(session_id, COMBAT, actor, reason, on_shortage)
    if done.undo is None and done.skipped is not SkipReason.UNDONE:
        return done
    # Also of one undone before: its first announcement may have failed. And again, as
    # Redis may have forgotten the first.
    return UndoResult(done.undo, done.skipped, announced and _announce(session_id))


def undo_operation(
    op_id: str, *, actor: User, reason: str, on_shortage: OnShortage
) -> UndoResult:
    """Like `undo_combat`, of an operation of the game. Redis tells nobody of these."""
    reason = _admitted(op_id, OPERATION, actor, reason)
    return _audited(op_id, OPERATION, actor, reason, on_shortage)


def _admitted(key: Key, kind: Kind, actor: User, reason: str) -> str:
    if not actor.has_perm(PERMISSION):
        audit.deny(actor, VERB, kind.target, [str(key)], reason)
    return audit.checked_reason(reason)


def _audited(
    key: Key, kind: Kind, actor: User, reason: str, on_shortage: OnShortage
) -> UndoResult:
    try:
        return _undo(key, kind, actor, reason, on_shortage)
    except (Error, psycopg.Error, UndoRefused, DomainFailure) as error:
        audit.record_failure(actor, VERB, kind.target, [str(key)], reason, error)
        raise


def _undo(
    key: Key, kind: Kind, actor: User, reason: str, on_shortage: OnShortage
) -> UndoResult:
    with open_cursor() as cursor:
        found = _applied(cursor, key, kind.read + sql.LOCK)
        if isinstance(found, SkipReason):
            act = Act(str(key), Outcome.SKIPPED, found)
            audit.record(actor, VERB, kind.target, [act], reason)
            return UndoResult(None, found)
        undo = _plan(
            cursor,
            *found,
            sql.LOCK_CHARACTERS,
            lambda most: _reserved_ids(cursor, most),
        )
        if undo.shortages and on_shortage == "refuse":
            raise UndoRefused(key, undo.shortages)
        session_id, revision = found
        mark = Write(kind.mark, [(session_id,)], every_row=kind.table)
        told = record(_events(kind, key, revision, undo))
        run(cursor.connection, [*sql.writes(session_id, undo, mark), told])
        for hook in hooks():
            hook.undone(cursor, [found])
        audit.record(actor, VERB, kind.target, [_act(key, undo)], reason)
    rings.ring_for_events()
    return UndoResult(undo)


def _events(kind: Kind, key: Key, revision: int, undo: Undo) -> Iterator[NewEvent]:
    body = {"revision": revision, "characters": write.moved(undo.lines)}
    yield NewEvent(kind.event, key, sorted(undo.before), body)
    op_id = key if isinstance(key, str) else None
    yield from write.discrepancies(undo.shortages, op_id)


def _applied(
    cursor: Cursor[Row], key: Key, statement: str
) -> tuple[UUID, int] | SkipReason:
    """Session and revision to undo, or why there is none."""
    rows = fetch(cursor, statement, [key])
    if not rows:
        return SkipReason.UNKNOWN
    status, session_id, revision, is_undone = rows[0]
    if status != Status.PROCESSED:
        return SkipReason(status)
    return SkipReason.UNDONE if is_undone else (session_id, int(revision))


def _plan(
    cursor: Cursor[Row],
    session_id: UUID,
    revision: int,
    characters: str,
    new_ids: Callable[[int], Iterator[int]],
) -> Undo:
    """`characters`: the statement that reads them, with or without locks."""
    lines = sql.lines(cursor, session_id, revision)
    balances = sql.balances(cursor, characters, lines)
    consumed = _consumed(lines)
    return plan_undo(
        lines,
        balances,
        sql.items(cursor, lines),
        _templates(cursor, {move["item_template_id"] for move in consumed}),
        new_ids(len(consumed)),
    )


def _consumed(lines: Sequence[LedgerEntry]) -> list[dict[str, Any]]:
    return [m for line in lines for m in line.items if m["kind"] == "consumed"]


def _templates(cursor: Cursor[Row], ids: set[str]) -> dict[str, Template]:
    if not ids:
        return {}
    rows = fetch(cursor, LOAD_TEMPLATES, [sorted(ids), [], []])
    return {row[0]: Template(*row) for row in rows}


def _reserved_ids(cursor: Cursor[Row], most: int) -> Iterator[int]:
    """Ids for as many rows as can be needed at most; gaps are harmless."""
    if not most:
        return iter(())
    return iter([row[0] for row in fetch(cursor, RESERVE_ITEM_IDS, [most])])


def _announce(session_id: UUID) -> bool:
    """Let Redis tell no result, neither now nor by whoever read it a moment ago.

    PostgreSQL is asked then, so it is true of any combat. False leaves it to the sweep.
    """
    found = CombatHistory.objects.filter(
        pk=session_id, settlement_status=Status.PROCESSED
    ).values_list("session_id", "revision")
    try:
        inbox.remember({pk: undone_tombstone(revision) for pk, revision in found})
    except (redis.RedisError, Error):
        logger.warning(
            "the tombstone of an undone combat waits for the sweep",
            extra={"session_id": session_id},
            exc_info=True,
        )
        return False
    return True


def _act(key: Key, undo: Undo) -> Act:
    return Act(
        str(key),
        Outcome.DONE,
        _in_words(undo.shortages),
        before=_state(undo, undo.before, lambda change: change.before),
        after=_state(undo, undo.after, lambda change: change.after),
    )


def _state(
    undo: Undo,
    balances: Mapping[int, Balance],
    side: Callable[[ItemChange], Item | None],
) -> dict[str, Any]:
    """The balances and changed rows of every player, on one side of the undo."""
    state: dict[str, Any] = {}
    for char_id, owned in balances.items():
        state[str(char_id)] = {"xp": owned.xp, "gold": owned.gold, "items": {}}
        if owned.named:
            amounts = {id_: row.amount for id_, row in owned.named.items()}
            state[str(char_id)]["balances"] = amounts
    for row_id, change in undo.changes.items():
        row = side(change)
        state[str(change.character_id)]["items"][str(row_id)] = (
            None
            if row is None
            else {
                "item_template_id": row.item_template_id,
                "quantity": row.quantity,
                "durability": row.durability,
            }
        )
    return state


def _in_words(shortages: Sequence[Discrepancy]) -> str:
    return "; ".join(
        f"{s.code} of character {s.character_id}: "
        f"{s.balance_id or s.item_template_id or 'balance'} {s.applied} of {s.wanted}"
        for s in shortages
    )
