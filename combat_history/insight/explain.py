"""Codes in plain words, for people; ru and en through gettext."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.utils.translation import gettext_lazy as _

from combat_history.actions.replay import SkipReason
from combat_history.insight.fight_log import Problem
from persistence.contract.errors import DiscrepancyCode, FailureCode
from persistence.contract.meta import FinishReason
from persistence.protocols import Outcome

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class Explanation(NamedTuple):
    """A short label for lists, what happened, and what a person can do about it."""

    label: str | _StrPromise
    meaning: str | _StrPromise = ""
    remedy: str | _StrPromise = ""


FAILURES: dict[str, Explanation] = {
    FailureCode.INVALID_PAYLOAD: Explanation(
        _("invalid document"),
        _("The document breaks the payload contract; the detail lists every fault."),
        _(
            "Correct the document, which is then replayed; the original stays. Show "
            "the detail to the developers of the engine."
        ),
    ),
    FailureCode.OUT_OF_RANGE: Explanation(
        _("amount out of range"),
        _("An amount, or the balance it would lead to, exceeds its limit."),
        _(
            "A wrong amount in the document is a fault of the engine. If a balance is "
            "full, lower it in the game and replay."
        ),
    ),
    FailureCode.UNKNOWN_CHARACTER: Explanation(
        _("unknown character"),
        _("A player of this combat has no character."),
        _("Create or restore the character in the game, then replay."),
    ),
    FailureCode.UNKNOWN_ITEM: Explanation(
        _("unknown item"),
        _("Loot of this combat is not in the catalogue, neither by id nor by name."),
        _("Add the item template with that id or name, then replay."),
    ),
    FailureCode.UNKNOWN_BALANCE: Explanation(
        _("unknown balance"),
        _("A named balance of this combat is not in the catalogue."),
        _("Add the named balance with that id, then replay."),
    ),
    FailureCode.UNKNOWN_VERSION: Explanation(
        _("unknown version"),
        _(
            "The document follows a version of the contract that this release does not "
            "know; the detail names it. Nothing else of it was judged."
        ),
        _("Upgrade this system, then replay; or let the engine send a known version."),
    ),
    FailureCode.SHORTAGE: Explanation(
        _("shortage"),
        _(
            "The inventory or the purse does not cover what was consumed, and the "
            "system is set to fail such combats."
        ),
        _(
            "Give back what is missing: correct the inventory on the page of the "
            "player, then replay. Where the row itself is gone, correct the document, "
            "or choose in the preview to settle with what is there."
        ),
    ),
    FailureCode.POISON: Explanation(
        _("kills its worker"),
        _("Every attempt to settle this combat ended with the death of its worker."),
        _("Look into the memory and the logs of the workers; replay after the fix."),
    ),
    FailureCode.UNEXPECTED: Explanation(
        _("unexpected error"),
        _("The settlement ended in an error that nobody foresaw; see the traceback."),
        _("Show the traceback to the developers; replay after the fix."),
    ),
    FailureCode.BAD_SESSION_ID: Explanation(
        _("unusable session id"),
        _("The document names no session, or its session id cannot be read."),
        _("The engine has to send the result again under a proper session id."),
    ),
    FailureCode.NOT_AN_OBJECT: Explanation(
        _("not a JSON object"),
        _("What arrived is JSON, but not an object."),
        _("Show the bytes to the developers of the engine."),
    ),
    FailureCode.TOO_LARGE: Explanation(
        _("document too large"),
        _("The document is larger than SETTLEMENT_MAX_DOCUMENT_BYTES."),
        _("Raise the limit or shorten the fight log, then let the engine resend it."),
    ),
    FailureCode.PAYLOAD_CONFLICT: Explanation(
        _("conflicting document"),
        _(
            "Another document was accepted for this session before. That one stands; "
            "this one was not settled and never will be."
        ),
        _("Compare both documents: a session may have only one result."),
    ),
    FailureCode.PAYLOAD_LOST: Explanation(
        _("document lost"),
        _("The inbox named a session whose document is neither in Redis nor here."),
        _("The engine has to send the result again."),
    ),
    FailureCode.RESULT_MISSING: Explanation(
        _("result missing"),
        _(
            "The fight ended, or its live session vanished, and no result was ever "
            "handed over. What the session held is kept here; nothing was settled."
        ),
        _(
            "Ask the developers of the engine; a result that they find can still be "
            "sent."
        ),
    ),
    FailureCode.STATE_MOVED: Explanation(
        _("state moved"),
        _(
            "Balances, items or templates changed between the preview and the replay."
            " What was previewed is what runs: so nothing was settled."
        ),
        _("Look at a new preview, then replay again."),
    ),
    FailureCode.BAD_SIGNATURE: Explanation(
        _("not signed by an engine"),
        _(
            "The document carries no signature by the key of an engine, or one that is "
            "not of its bytes: anybody may have sent it. Nothing was applied; if the "
            "engine sends a signed one, that is settled instead."
        ),
        _(
            "Ask the operator whether the engine has its key and this system knows it. "
            "Replay it only if the engine sent the document; otherwise void it."
        ),
    ),
    FailureCode.HELD_FOR_REVIEW: Explanation(
        _("held for review"),
        _(
            "A participant gains more than a review rule allows, or its fight was not "
            "begun with them; the detail says which rule, how much, and its limit. "
            "Nothing was applied."
        ),
        _(
            "If it is right, replay it: that approves it. Otherwise correct the "
            "document, or void the combat. The rules are in the admin."
        ),
    ),
    FailureCode.UNREADABLE_MESSAGE: Explanation(
        _("unreadable message"),
        _(
            "A message to the workers could not be read, or asked for what no task "
            "can do; the errors say why. It was taken out of its queue and is kept "
            "here as it came; the workers went on."
        ),
        _(
            "If it holds the document of a fight, correct it and resubmit it here: a "
            "fight that was settled already is not settled twice. Show the errors to "
            "whoever sends such messages."
        ),
    ),
}

DISCREPANCIES: dict[str, Explanation] = {
    DiscrepancyCode.ITEM_GONE: Explanation(
        _("item is gone"),
        _("The inventory row no longer exists; nothing was taken."),
    ),
    DiscrepancyCode.ITEM_NOT_OWNED: Explanation(
        _("item of another owner"),
        _("The inventory row belongs to somebody else by now; nothing was taken."),
    ),
    DiscrepancyCode.ITEM_MISMATCH: Explanation(
        _("another item"),
        _("The inventory row holds another item than the document; nothing was taken."),
    ),
    DiscrepancyCode.ITEM_SHORTAGE: Explanation(
        _("too few pieces"),
        _("Fewer pieces were left than were consumed; all of them were taken."),
    ),
    DiscrepancyCode.ITEM_RESERVED: Explanation(
        _("held by another fight"),
        _(
            "The item is on the belt of another fight, which may still use it; "
            "nothing was taken or worn."
        ),
    ),
    DiscrepancyCode.GOLD_SHORTAGE: Explanation(
        _("penalty exceeds the purse"),
        _("The penalty is larger than the purse; the purse was emptied."),
    ),
    DiscrepancyCode.BALANCE_SHORTAGE: Explanation(
        _("penalty below the floor"),
        _(
            "More of a named balance was to be taken than its floor allows; it was "
            "taken as far as that."
        ),
    ),
    DiscrepancyCode.NOT_EQUIPPED: Explanation(
        _("item is not equipped"),
        _("No item of this template is equipped; nothing was worn."),
    ),
    DiscrepancyCode.NO_DURABILITY: Explanation(
        _("item does not wear"),
        _("The item has no durability; nothing was worn."),
    ),
    DiscrepancyCode.UNDO_ITEM: Explanation(
        _("undo: pieces are missing"),
        _(
            "The combat was undone, but the player no longer had all of the loot, or "
            "a fight holds it; what was there was taken back."
        ),
    ),
    DiscrepancyCode.UNDO_GOLD: Explanation(
        _("undo: the purse cannot follow"),
        _(
            "The combat was undone, but its gold was partly spent or has no room in "
            "the purse; it was moved back as far as possible."
        ),
    ),
    DiscrepancyCode.UNDO_XP: Explanation(
        _("undo: XP is missing"),
        _("The combat was undone, but the player has less XP than it gave."),
    ),
    DiscrepancyCode.UNDO_BALANCE: Explanation(
        _("undo: a named balance cannot follow"),
        _(
            "The combat was undone, but a named balance was partly spent or has no "
            "room; it was moved back as far as its bounds allow."
        ),
    ),
    DiscrepancyCode.UNDO_WEAR: Explanation(
        _("undo: nothing to mend"),
        _("The combat was undone, but the worn item is gone; nothing was mended."),
    ),
}

OUTCOMES: dict[str, str | _StrPromise] = {
    Outcome.PROCESSED: _("settled"),
    Outcome.FAILED: _("failed"),
    Outcome.DUPLICATE: _("duplicate"),
    Outcome.CONFLICT: _("conflict"),
    Outcome.REJECTED: _("rejected"),
    "": _("never ended"),
}

NOT_REPLAYED: dict[str, str | _StrPromise] = {
    SkipReason.PENDING: _("already in the queue"),
    SkipReason.PROCESSED: _("already settled"),
    SkipReason.VOIDED: _("voided"),
    SkipReason.UNKNOWN: _("not in the history"),
}

FINISH_REASONS: dict[str, str | _StrPromise] = {
    FinishReason.VICTORY: _("victory"),
    FinishReason.DEFEAT: _("defeat"),
    FinishReason.FLEE: _("flight"),
    FinishReason.DRAW: _("draw"),
    FinishReason.ABANDONED: _("abandoned by the engine"),
}


MOVEMENTS: dict[str, str | _StrPromise] = {
    "consumed": _("consumed"),
    "worn": _("worn"),
    "gained": _("gained"),
    "returned": _("returned"),
    "repaired": _("mended"),
    "taken_back": _("taken back"),
    "added": _("given"),
    "removed": _("taken"),
    "equipped": _("equipped"),
    "unequipped": _("unequipped"),
    "moved": _("moved"),
    "split": _("split"),
    "merged": _("merged"),
    "durability_set": _("durability set"),
}

FIGHT_LOG_PROBLEMS: dict[str, str | _StrPromise] = {
    Problem.NOT_BASE64: _("The log is a text that is no base64."),
    Problem.UNKNOWN_PACKING: _("What is packed is neither zstd, zlib nor JSON."),
    Problem.BROKEN: _("The packed log is broken."),
    Problem.CUT_OFF: _("The packed log ends too early."),
    Problem.TOO_LARGE: _("The packed log unfolds to more than is opened here."),
    Problem.NOT_JSON: _("What was packed is no JSON."),
    Problem.TOO_DEEP: _("The log is nested too deeply to be told by turns."),
}

_PASSING = Explanation(
    _("passing error"), _("The combat was put back for a later attempt.")
)


def failure(code: str) -> Explanation:
    """A failure code in words, of a combat, a rejected payload or an attempt.

    An unknown code names itself.
    """
    return FAILURES.get(code) or (
        _PASSING if code == "transient" else Explanation(code)
    )


def discrepancy(code: str) -> Explanation:
    return DISCREPANCIES.get(code) or Explanation(code)
