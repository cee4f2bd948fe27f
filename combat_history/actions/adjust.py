"""Correct a player's inventory: what the game would queue, asked for by a person.

The operations are parked with the word that they are to be tried: whoever may write to
Redis cannot ask for one. The Saver applies them behind what the game has queued, once
for each op_id, and the ledger keeps adding up. Nothing is edited in place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import redis
from django.conf import settings
from django.db import Error
from django.db.models.functions import Now

from combat_history.actions import audit
from combat_history.actions.audit import Act, Outcome
from combat_history.models import AuditEntry, Character, ParkedOperation
from persistence.contract.document import Document
from persistence.contract.errors import ItemReserved, OperationInvalid, ParkCode
from persistence.contract.operations import (
    MADE_BY,
    Add,
    Merge,
    Operation,
    Remove,
    SetDurability,
    Split,
    named_rows,
    parse_operation,
)
from persistence.engine import calls
from persistence.protocols import SyncScope
from persistence.savers.combat.rows import Template
from persistence.savers.combat.statements import LOAD_TEMPLATES
from persistence.savers.inventory import statements
from persistence.savers.inventory.bag import Bag, Item, Refused
from persistence.worker import inbox, rings
from persistence.worker.sql import Row, fetch
from persistence.worker.transactions import open_cursor

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from psycopg import Cursor

logger = logging.getLogger(__name__)

PERMISSION = "combat_history.change_inventoryitem"
VERB, TARGET = "adjust", "character"

MAX_STEPS = 3
"""Operations of one correction: see `give`."""

CORRECTS = (Add, Remove, SetDurability, Split, Merge)
"""A split or a merge only brings what is given to its row."""


FAILURES = (Error, psycopg.Error, redis.RedisError, ItemReserved, Refused)
"""Why nothing was queued, or why nobody knows."""


class Held(NamedTuple):
    """The contents of a row; `durability` is None for what does not wear."""

    quantity: int
    durability: int | None


@dataclass(frozen=True, slots=True)
class RowChange:
    """The change of one inventory row. A new one has no `row_id`, one that goes no
    `after`."""

    row_id: int | None
    item_template_id: str
    before: Held | None
    after: Held | None


class NothingToCorrect(Exception):
    """The inventory is as the correction wants it."""


def give(
    op_id: str,
    item_template_id: str,
    qty: int,
    *,
    durability: int | None = None,
    into: int | None = None,
    stack: int | None = None,
) -> list[Document]:
    """Operations that give pieces, as one correction that goes by `op_id`.

    `into`: the row that is to have them, else they go where the game puts what it
    gives. `stack`: the row where that is, where there is one.
    """
    added: Document = {
        "op_id": op_id,
        "op": "add",
        "item_template_id": item_template_id,
        "qty": qty,
    }
    if durability is not None:
        added["durability"] = durability
    if into is None or into == stack:
        return [added]
    steps, given = [added], op_id
    if stack is not None:
        # What joined a stack leaves it again: the rest of it stays in the bag.
        given = f"{op_id}:part"
        made = f"{MADE_BY}{op_id}"
        steps.append({"op_id": given, "op": "split", "inventory_id": made, "qty": qty})
    joined = {"inventory_id": f"{MADE_BY}{given}", "into": into}
    return [*steps, {"op_id": f"{op_id}:joined", "op": "merge", **joined}]


def check(char_id: int, operations: Sequence[Document]) -> list[RowChange]:
    """The changes that they would make to the inventory as it is now. Reads only.

    Raises OperationInvalid; Refused, for what the Saver would not apply;
    NothingToCorrect; Character.DoesNotExist.
    """
    parsed = _parsed(char_id, operations)
    Character.objects.only("pk").get(pk=char_id)
    with open_cursor() as cursor:
        return _rehearse(cursor, char_id, parsed)


def adjust(
    char_id: int, operations: Sequence[Document], *, actor: User, reason: str
) -> list[RowChange] | None:
    """Queue a correction, and ask for the save that applies it; what it will change.

    Goes by the op_id of its first operation. None: that one was queued before, and
    nothing was now. The audit entry and the operations stand or fall together.

    Raises PermissionDenied, audited; ValueError for a reason; what `check` raises, and
    ItemReserved, with nothing queued; the error of Redis or the database. All but a
    faulty call are audited where they still can be.
    """
    ids = [str(char_id)]
    if not actor.has_perm(PERMISSION):
        audit.deny(actor, VERB, TARGET, ids, reason)
    reason = audit.checked_reason(reason)
    parsed = _parsed(char_id, operations)
    try:
        with open_cursor() as cursor:
            changes = _adjust(cursor, char_id, parsed, actor, reason)
    except (*FAILURES, NothingToCorrect) as error:
        audit.record_failure(actor, VERB, TARGET, ids, reason, error)
        raise
    if changes is not None:
        rings.send_save(SyncScope.INVENTORY, char_id)
    return changes


def _parsed(char_id: int, operations: Sequence[Document]) -> list[Operation]:
    parsed = [parse_operation(char_id, document) for document in operations]
    if not 1 <= len(parsed) <= MAX_STEPS:
        message = f"a correction has 1 to {MAX_STEPS} operations"
        raise OperationInvalid(char_id, [{"path": "", "message": message}])
    for operation in parsed:
        if not isinstance(operation, CORRECTS):
            fault = {"path": "op", "message": f"{operation.op} corrects nothing"}
            raise OperationInvalid(char_id, [fault])
    return parsed


def _adjust(
    cursor: Cursor[Row],
    char_id: int,
    operations: Sequence[Operation],
    actor: User,
    reason: str,
) -> list[RowChange] | None:
    # It guards the inventory: of two clicks the second sees the entry of the first.
    Character.objects.select_for_update(no_key=True).only("pk").get(pk=char_id)
    op_id = operations[0].op_id
    if _is_known(char_id, op_id):
        act = Act(str(char_id), Outcome.SKIPPED, f"{op_id} was queued before")
        audit.record(actor, VERB, TARGET, [act], reason)
        return None
    changes = _rehearse(cursor, char_id, operations)
    documents = [o.model_dump(exclude_none=True) for o in operations]
    _reserve(char_id, operations)
    ParkedOperation.objects.bulk_create(
        ParkedOperation(
            scope=SyncScope.INVENTORY,
            character_id=char_id,
            op_id=document["op_id"],
            operation=document,
            code=ParkCode.CORRECTION,
            retry_requested_at=Now(),
        )
        for document in documents
    )
    act = Act(
        str(char_id),
        Outcome.DONE,
        f"operation {op_id} is queued",
        before={"rows": [_image(change) for change in changes if change.row_id]},
        after={"op_id": op_id, "operations": documents},
    )
    audit.record(actor, VERB, TARGET, [act], reason)
    return changes


def _is_known(char_id: int, op_id: str) -> bool:
    entries = AuditEntry.objects.filter(target_type=TARGET, target_id=str(char_id))
    done = entries.filter(verb=VERB, outcome=Outcome.DONE, after__op_id=op_id)
    return done.exists()


def _reserve(char_id: int, operations: Sequence[Operation]) -> None:
    """Nothing of a belt in a running fight; and the sweep is to know of the save."""
    call = calls.reserve(char_id, operations)
    replicas = settings.SETTLEMENT_SUBMIT_REPLICAS
    reply = inbox.replicated(call.script, call.keys, call.args, replicas)
    word, *rest = calls.texts(reply)
    if word == "reserved":
        raise ItemReserved(char_id, rest[0], [int(row) for row in rest[1:]])


def _rehearse(
    cursor: Cursor[Row], char_id: int, operations: Sequence[Operation]
) -> list[RowChange]:
    """The Saver's own rules over the rows as they stand."""
    named = {r for o in operations for r in named_rows(o) if isinstance(r, int)}
    items = statements.items(cursor, char_id, named)
    before = {item.id: _held(item) for item in items}
    # No row has such an id yet.
    bag = Bag(char_id, items, _templates(cursor, items, operations), count(-1, -1))
    known = {item.id: item.item_template_id for item in items}
    for operation in operations:
        bag.apply(operation, operation.op_id)
    after = {row_id: row for row_id, row in bag.rows.items() if row_id in bag.updated}
    after |= bag.inserted
    changes = [
        RowChange(
            row_id if row_id > 0 else None,
            after[row_id].item_template_id if row_id in after else known[row_id],
            before.get(row_id),
            _held(after[row_id]) if row_id in after else None,
        )
        for row_id in sorted({*after, *bag.removed}, key=lambda i: (i < 0, abs(i)))
    ]
    moved = [change for change in changes if change.before != change.after]
    if not moved:
        raise NothingToCorrect("the inventory is so already")
    return moved


def _templates(
    cursor: Cursor[Row], items: Sequence[Item], operations: Sequence[Operation]
) -> dict[str, Template]:
    ids = {item.item_template_id for item in items}
    for operation in operations:
        if isinstance(operation, Add | Remove) and operation.item_template_id:
            ids.add(operation.item_template_id)
    rows = fetch(cursor, LOAD_TEMPLATES, [sorted(ids), [], []])
    return {row[0]: Template(*row) for row in rows}


def _held(item: Item) -> Held:
    return Held(item.quantity, item.durability)


def _image(change: RowChange) -> Document:
    held = change.before._asdict() if change.before else {}
    return {"inventory_id": change.row_id, **held}
