"""Keep the catalogue from a file: kinds of items and of named balances."""

from __future__ import annotations

import re

from combat_history.actions.register import Refused, keep_balance, keep_item
from combat_history.management.importing import ImportCommand
from combat_history.management.world_files import Fault, Line
from persistence.contract.changes import BALANCE_ID
from persistence.contract.errors import PayloadInvalid
from persistence.contract.world import ITEM_ID, BalanceKind, ItemKind


class Command(ImportCommand):
    help = (
        "Keep kinds of items and balances: JSON lines as of PUT /api/items/{id} and "
        'PUT /api/balances/{id} with an id, balances with "kind": "balance"; or CSV '
        "with the columns kind, id, name, name_en, stackable, max_durability, floor, "
        "maximum."
    )

    def bring(self, lines: list[Line]) -> tuple[int, list[Fault]]:
        made = 0
        faults: list[Fault] = []
        for line in lines:
            try:
                made += _keep(line)
            except ValueError as error:
                faults.append(Fault(line.number, "", str(error)))
            except PayloadInvalid as error:
                faults += [
                    Fault(line.number, f["path"], f["message"]) for f in error.errors
                ]
            except Refused as error:
                (fault,) = error.faults.values()
                faults.append(Fault(line.number, fault.path, fault.message))
        return made, faults


def _keep(line: Line) -> bool:
    """Whether it is new. Raises ValueError, PayloadInvalid or Refused."""
    if line.problem:
        raise ValueError(line.problem)
    fields = {**line.said}
    kind, id_ = fields.pop("kind", "item"), fields.pop("id", None)
    if kind == "item":
        return keep_item(_checked(id_, ITEM_ID), ItemKind.read(fields))
    if kind == "balance":
        return keep_balance(_checked(id_, BALANCE_ID), BalanceKind.read(fields))
    raise ValueError(f"kind: {kind!r} is neither item nor balance")


def _checked(id_: object, pattern: str) -> str:
    if isinstance(id_, str) and re.fullmatch(pattern, id_):
        return id_
    raise ValueError(f"id: {id_!r} is none: expected {pattern}")
