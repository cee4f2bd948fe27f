"""Inventory operations: what the engine appends to `inventory:delta:{char_id}`.

Each is applied once, in order, by InventoryStateSaver. Wherever an inventory id is
expected, "op:<op_id>" names the row that an earlier `add` or `split` of the player
made; of an `add` that joined a stack it names the stack, of several pieces the first.
Unknown keys are refused: a misspelt one must never be dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, TypeGuard

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from persistence.contract.changes import MAX_AMOUNT, MAX_BIGINT, Quantity, TemplateId
from persistence.contract.errors import OperationInvalid

MAX_OP_ID = 100
MAX_SLOT = 40
"""Both as their columns: parked_operations.op_id and inventory.slot."""

OURS = "admin:"
"""Begins the op_id of what a person asks for, and of nothing that a game queues."""

MADE_BY = "op:"
"""Begins the name of a row by the operation that made it."""

_OP_ID = rf"[^\x00\ud800-\udfff]{{1,{MAX_OP_ID}}}"


def _row_reference(value: object) -> int | str:
    """One fault, whatever is wrong: a union would tell one for each of its members."""
    if isinstance(value, str):
        if value.startswith(MADE_BY) and is_op_id(value.removeprefix(MADE_BY)):
            return value
    elif type(value) is int and 1 <= value <= MAX_BIGINT:
        return value
    raise PydanticCustomError(
        "row_reference", "expected an inventory id or the text op:<op_id>"
    )


def is_op_id(value: object) -> TypeGuard[str]:
    """Whether an operation could be remembered under this name."""
    return isinstance(value, str) and re.fullmatch(_OP_ID, value) is not None


OpId = Annotated[str, Field(min_length=1, max_length=MAX_OP_ID, pattern=r"^[^\x00]+$")]
Slot = Annotated[str, Field(min_length=1, max_length=MAX_SLOT, pattern=r"^[^\x00]+$")]
Durability = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
RowReference = Annotated[
    int | str,
    PlainValidator(_row_reference),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_BIGINT},
                {"type": "string", "pattern": rf"^{MADE_BY}[^\x00]{{1,{MAX_OP_ID}}}$"},
            ]
        }
    ),
]


class _Operation(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    op_id: OpId


class Add(_Operation):
    """Gives pieces: they join the unequipped stack of the template, or are new rows."""

    op: Literal["add"]
    item_template_id: TemplateId
    qty: Quantity
    durability: Durability | None = None


class Remove(_Operation):
    """Takes pieces: of one row, or of a template, unequipped rows and low ids first."""

    op: Literal["remove"]
    inventory_id: RowReference | None = None
    item_template_id: TemplateId | None = None
    qty: Quantity

    @model_validator(mode="after")
    def _names_one_source(self) -> Remove:
        if (self.inventory_id is None) == (self.item_template_id is None):
            raise PydanticCustomError(
                "source", "remove needs either inventory_id or item_template_id"
            )
        return self


class Equip(_Operation):
    op: Literal["equip"]
    inventory_id: RowReference
    slot: Slot


class Unequip(_Operation):
    op: Literal["unequip"]
    inventory_id: RowReference


class Move(_Operation):
    """Takes a row from the slot it is in to another one."""

    op: Literal["move"]
    inventory_id: RowReference
    slot: Slot


class Split(_Operation):
    """Makes an unequipped row of `qty` pieces; some must be left."""

    op: Literal["split"]
    inventory_id: RowReference
    qty: Quantity


class Merge(_Operation):
    """All of a row joins another one of the same template."""

    op: Literal["merge"]
    inventory_id: RowReference
    into: RowReference


class SetDurability(_Operation):
    op: Literal["set_durability"]
    inventory_id: RowReference
    durability: Durability


Operation = Add | Remove | Equip | Unequip | Move | Split | Merge | SetDurability

_ADAPTER: TypeAdapter[Operation] = TypeAdapter(
    Annotated[Operation, Field(discriminator="op")]
)
_TAGS = frozenset(
    {"add", "remove", "equip", "unequip", "move", "split", "merge", "set_durability"}
)


def parse_operation(char_id: int, document: object) -> Operation:
    """Raises OperationInvalid with one entry per fault."""
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        faults = error.errors(
            include_url=False, include_context=False, include_input=False
        )
    raise OperationInvalid(
        char_id,
        [{"path": _path(fault["loc"]), "message": fault["msg"]} for fault in faults],
    )


def named_rows(operation: Operation) -> list[int | str]:
    """The rows that it names, one by one."""
    if isinstance(operation, Add):
        return []
    if isinstance(operation, Merge):
        return [operation.inventory_id, operation.into]
    return [] if operation.inventory_id is None else [operation.inventory_id]


def reservable_rows(operation: Operation) -> list[int]:
    """Inventory ids that it is refused for while a fight holds them."""
    # A fight counts on the pieces it holds, not on their wear.
    if isinstance(operation, SetDurability):
        return []
    if isinstance(operation, Merge):  # what it joins only gains
        named: list[int | str] = [operation.inventory_id]
    else:
        named = named_rows(operation)
    return [row for row in named if isinstance(row, int)]


def pieces_by_template(operations: Iterable[Operation]) -> dict[str, tuple[int, int]]:
    """For each template that is named: pieces needed before, and more or less after.

    First the pieces that must be there before the first operation, for all of them to
    find theirs; then those that there are more after the last.
    """
    pieces: dict[str, tuple[int, int]] = {}
    for operation in operations:
        if isinstance(operation, Add):
            template_id, change = operation.item_template_id, operation.qty
        elif isinstance(operation, Remove) and operation.item_template_id:
            template_id, change = operation.item_template_id, -operation.qty
        else:
            continue
        needed, more = pieces.get(template_id, (0, 0))
        more += change
        pieces[template_id] = (max(needed, -more), more)
    return pieces


def _path(location: tuple[int | str, ...]) -> str:
    """Dotted; pydantic begins it with the tag of the union's member."""
    names = location[1:] if location[:1] and location[0] in _TAGS else location
    return ".".join(map(str, names))
