"""The fingerprint of the state that a combat is applied to.

Of everything the plan of one combat reads, taken when the combat's turn comes: what was
previewed is what runs, whatever else its batch does before it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from persistence.contract.payload import CombatResultPayload
from persistence.savers.combat.rows import Catalogue, ItemRow, World


def fingerprint(
    payload: CombatResultPayload, revision: int, world: World, catalogue: Catalogue
) -> str:
    """SHA-256 of the document's revision and of all rows that its plan looks at.

    hp and energy are left out: they are guarded by their own time, and heal by
    themselves.
    """
    seen = {
        "revision": revision,
        "characters": [_balances(world, char_id) for char_id in payload.players()],
        "items": _items(payload, world, catalogue),
        "templates": _templates(payload, catalogue),
    }
    if named := _named_balances(payload, world):
        seen["balances"] = named
    return hashlib.sha256(to_json(seen)).hexdigest()


def _balances(world: World, char_id: int) -> list[int] | None:
    row = world.characters.get(char_id)
    return None if row is None else [row.id, row.xp, row.gold]


def _named_balances(payload: CombatResultPayload, world: World) -> list[Any]:
    """Amounts and bounds of those that the document moves; None of an unknown one."""
    return [
        [char_id, balance_id, world.balances.get((char_id, balance_id))]
        for char_id, result in payload.players().items()
        for balance_id in sorted(result.changes.balances)
    ]


def _items(
    payload: CombatResultPayload, world: World, catalogue: Catalogue
) -> list[dict[str, Any] | int]:
    named: set[int] = set()
    for char_id, result in payload.players().items():
        named.update(entry.inventory_id for entry in result.changes.items_consumed)
        for target in result.changes.durability_loss:
            kind, _, name = target.partition(":")
            if kind == "item":
                named.update(world.owned.get((char_id, name), ()))
            else:
                named.add(int(name))
        for loot in result.loot():
            template = catalogue.find(loot)
            if template is not None and template.stackable:
                named.update(world.owned.get((char_id, template.id), ()))
    rows = ((row_id, world.items.get(row_id)) for row_id in sorted(named))
    return [
        row_id if row is None else _shown(row, payload.session_id)
        for row_id, row in rows
    ]


def _shown(row: ItemRow, session_id: UUID) -> dict[str, Any]:
    """The row as it counts; who holds it counts where that is another fight."""
    # Not `asdict`, which copies every value: a row may stand beside thousands.
    shown = {field.name: getattr(row, field.name) for field in fields(row)}
    if row.reserved_session_id in (None, session_id):
        del shown["reserved_session_id"]
    if row.properties is None:
        del shown["properties"]
    return shown


def _templates(
    payload: CombatResultPayload, catalogue: Catalogue
) -> list[dict[str, Any] | None]:
    found = (
        catalogue.find(loot)
        for result in payload.players().values()
        for loot in result.loot()
    )
    return [None if template is None else asdict(template) for template in found]
