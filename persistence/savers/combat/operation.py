"""What an operation of the game comes to: its plan, its answer, or why it is refused.

Pure, as `plan` is, whose rules it applies as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from persistence.contract.errors import (
    DiscrepancyCode,
    DomainFailure,
    FailureCode,
    OperationConflict,
    OperationRefused,
)
from persistence.contract.operate import (
    Asked,
    CharacterAfter,
    Operation,
    OperationAnswer,
    Shortage,
)
from persistence.savers.combat.plan import plan_operation
from persistence.savers.combat.rows import (
    Catalogue,
    Discrepancy,
    LedgerEntry,
    Plan,
    World,
)


@dataclass(frozen=True, slots=True)
class Cause:
    """An operation as the planner knows it; `session_id` is its own id."""

    operation: Operation
    session_id: UUID
    finished_at: datetime
    revision: int = 1

    def asked(self) -> Mapping[int, Asked]:
        return self.operation.asked()


def planned(
    cause: Cause, world: World, catalogue: Catalogue, new_ids: Iterator[int]
) -> Plan:
    """Raises OperationRefused; the world is as it was then."""
    op_id = cause.operation.op_id
    try:
        plan = plan_operation(cause, world, catalogue, new_ids)
    except DomainFailure as failure:
        raise OperationRefused(op_id, failure.code, failure.detail, []) from None
    if plan.discrepancies:
        raise _short_of(op_id, plan.discrepancies)
    return plan


def answered(cause: Cause, plan: Plan) -> OperationAnswer:
    return OperationAnswer(
        op_id=cause.operation.op_id,
        id=cause.session_id,
        characters={line.character_id: _after(line) for line in plan.ledger},
    )


def told_again(
    operation: Operation, sha256: str, answer: OperationAnswer
) -> OperationAnswer:
    """What came of the one that was applied under that name, with that hash.

    Raises OperationConflict where it was another one.
    """
    if sha256 != operation.sha256:
        raise OperationConflict(operation.op_id)
    return answer.model_copy(update={"duplicate": True})


def _after(line: LedgerEntry) -> CharacterAfter:
    # An image is the ledger's: of a row that is gone, for an undo.
    items = [
        {key: value for key, value in movement.items() if key != "image"}
        for movement in line.items
    ]
    named = {id_: move["after"] for id_, move in (line.balances or {}).items()}
    return CharacterAfter(
        xp=line.xp_after, gold=line.gold_after, balances=named, items=items
    )


def _short_of(op_id: str, shortages: list[Discrepancy]) -> OperationRefused:
    reserved = any(one.code == DiscrepancyCode.ITEM_RESERVED for one in shortages)
    return OperationRefused(
        op_id,
        str(DiscrepancyCode.ITEM_RESERVED if reserved else FailureCode.SHORTAGE),
        "; ".join(map(str, shortages)),
        [_shortage(one).model_dump(exclude_none=True) for one in shortages],
    )


def _shortage(one: Discrepancy) -> Shortage:
    return Shortage(
        code=str(one.code),
        character_id=one.character_id,
        inventory_id=one.inventory_id,
        item_template_id=one.item_template_id,
        balance_id=one.balance_id,
        wanted=one.wanted,
        there=one.applied,
    )
