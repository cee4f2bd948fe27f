"""Why operations are parked, in plain words for people; ru and en through gettext."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from combat_history.insight.explain import Explanation
from persistence.contract.errors import ParkCode

_RETRY_LATER = _("Retry it once that has changed; otherwise discard it.")

CODES: dict[str, Explanation] = {
    ParkCode.INVALID: Explanation(
        _("invalid operation"),
        _("What was queued is no operation of the contract; the detail lists faults."),
        _("Show it to the developers of the engine, then discard it."),
    ),
    ParkCode.OP_ID_REUSED: Explanation(
        _("operation id used twice"),
        _("Another operation of this player has the same op_id."),
        _(
            "An op_id names one operation for ever. A retry helps only after the "
            "other one was discarded."
        ),
    ),
    ParkCode.UNKNOWN_CHARACTER: Explanation(
        _("unknown character"),
        _("There is no character of this id."),
        _("Create or restore the character in the game, then retry."),
    ),
    ParkCode.UNKNOWN_ITEM: Explanation(
        _("unknown item"),
        _("The item template is not in the catalogue."),
        _("Add the item template, then retry."),
    ),
    ParkCode.ITEM_GONE: Explanation(
        _("item is gone"),
        _("The inventory row does not exist."),
        _RETRY_LATER,
    ),
    ParkCode.ITEM_NOT_OWNED: Explanation(
        _("item of another owner"),
        _("The inventory row belongs to another player; it was not touched."),
        _RETRY_LATER,
    ),
    ParkCode.ITEM_SHORTAGE: Explanation(
        _("too few pieces"),
        _("Fewer pieces are there than the operation takes; none was taken."),
        _RETRY_LATER,
    ),
    ParkCode.ITEM_RESERVED: Explanation(
        _("held by a fight"),
        _("The item is on the belt of a fight that is not settled."),
        _("Retry it when the fight is settled."),
    ),
    ParkCode.NOT_ALLOWED: Explanation(
        _("not allowed"),
        _("The row is there, but this cannot be done to it; see the detail."),
        _RETRY_LATER,
    ),
    ParkCode.SLOT_TAKEN: Explanation(
        _("slot is taken"),
        _("Another item is equipped in that slot."),
        _RETRY_LATER,
    ),
    ParkCode.OUT_OF_RANGE: Explanation(
        _("amount out of range"),
        _("The quantity or the durability would exceed its limit."),
        _RETRY_LATER,
    ),
    ParkCode.BLOCKED: Explanation(
        _("waits for another"),
        _("It needs what an operation touches that is parked itself."),
        _("Retry that one: this one follows by itself."),
    ),
    ParkCode.BAD_SIGNATURE: Explanation(
        _("not signed by an engine"),
        _("No engine has signed it for this player: anybody may have queued it."),
        _("Find out who queued it. Retry it only if it is sound, or discard it."),
    ),
    ParkCode.CORRECTION: Explanation(
        _("correction by an admin"),
        _("It was asked for in the admin; the next save of the player applies it."),
        _("Wait for a moment; retry it if it stays."),
    ),
    ParkCode.UNEXPECTED: Explanation(
        _("unexpected error"),
        _("The save ended in an error that nobody foresaw; see the detail."),
        _("Show the detail to the developers; retry after the fix."),
    ),
}


def explained(code: str) -> Explanation:
    """An unknown code names itself."""
    return CODES.get(code) or Explanation(code)
