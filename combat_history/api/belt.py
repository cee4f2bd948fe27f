"""What a character carries on its belt: the seed's assembler, over HTTP."""

from __future__ import annotations

import re

from combat_history.api.schemas import Belt, BeltEntry
from combat_history.models import Character, InventoryItem

_SLOT = re.compile(r"belt_([1-9][0-9]*)")


def belt_of(char_id: int) -> Belt | None:
    """Equipped rows of the slots belt_1, belt_2, …; None for an unknown character."""
    rows = InventoryItem.objects.filter(
        character_id=char_id, is_equipped=True, slot__startswith="belt_"
    ).values_list("id", "item_template_id", "slot", "quantity")
    numbered = [
        (
            int(slot[1]),
            BeltEntry(
                inventory_id=row[0],
                item_template_id=row[1],
                slot=row[2],
                quantity=row[3],
            ),
        )
        for row in rows
        if (slot := _SLOT.fullmatch(row[2] or ""))
    ]
    if not numbered and not Character.objects.filter(pk=char_id).exists():
        return None
    numbered.sort(key=lambda entry: (entry[0], entry[1].inventory_id))
    return Belt(character_id=char_id, items=[entry for _, entry in numbered])
