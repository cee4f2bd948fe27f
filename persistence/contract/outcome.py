"""The summary of a settled combat: what a tombstone holds.

Made from the document and, for a settled combat, the amounts that its ledger lines
moved: a purse that could not pay a penalty paid less. PostgreSQL has both, to make it
again.

It begins with what it is true of, which tombstone.lua reads without the rest: the
revision, and whether that was undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from pydantic_core import to_json

from persistence.contract.document import Document
from persistence.contract.payload import PLAYER_KEY


class Amounts(TypedDict):
    """What a settlement moved of one player, as the ledger has it."""

    gold: int
    balances: Mapping[str, Mapping[str, int]] | None


Moves = Mapping[str, Amounts]
"""By character id as text."""

NOTHING_MOVED: Moves = {}


def undone_tombstone(revision: int) -> bytes:
    """The mark in the tombstone's place once that revision was undone.

    It tells nothing but that PostgreSQL is to be asked, and yields to no older one.
    """
    return to_json({"revision": revision, "undone": True})


def tombstone(
    document: Any, moved: Moves, revision: int, *, is_undone: bool
) -> bytes | None:
    """The tombstone of a settled row, undone or not.

    None where somebody wrote a document by hand that is none.
    """
    if is_undone:
        return undone_tombstone(revision)
    try:
        return summary(document, moved, revision)
    except (KeyError, TypeError, AttributeError):
        return None


def summary(
    document: Document, moved: Moves = NOTHING_MOVED, revision: int = 1
) -> bytes:
    """Compact JSON: the winner, the reason, and the reward of every player.

    `moved`: by the settlement; of whom it is not known, what the document says.
    """
    meta = document["meta"]
    return to_json(
        {
            # First of all: tombstone.lua reads it off the beginning.
            "revision": revision,
            "winner_team": meta.get("winner_team"),
            "finish_reason": meta["finish_reason"],
            "end_timestamp": meta["end_timestamp"],
            "participants": {
                key: _participant(result, moved.get(key))
                for key, result in document["participants"].items()
                if PLAYER_KEY.fullmatch(key)
            },
        }
    )


def _participant(result: Document, moved: Amounts | None) -> dict[str, Any]:
    changes = result["changes"]
    told = {
        "is_winner": result["is_winner"],
        "team": result.get("team"),
        "xp": changes.get("xp_gained", 0),
        "gold": changes.get("gold_gained", 0) if moved is None else moved["gold"],
        "loot": [
            {
                "name": entry.get("name") or entry.get("item_template_id"),
                "qty": entry.get("qty", 1),
            }
            for entry in _loot(changes, result.get("ui_report", {}))
        ],
    }
    if balances := _balances(changes, moved):
        told["balances"] = balances
    return told


def _balances(changes: Document, moved: Amounts | None) -> Mapping[str, int]:
    if moved is None:
        asked: Mapping[str, int] = changes.get("balances", {})
        return asked
    return {id_: move["delta"] for id_, move in (moved["balances"] or {}).items()}


def _loot(changes: Document, report: Document) -> list[Document]:
    """The loot that is granted, under the names it was shown with."""
    shown: list[Document] = report.get("loot_obtained", [])
    gained = changes.get("items_gained")
    if gained is None:
        return shown
    names = {entry.get("item_template_id"): entry.get("name") for entry in shown}
    return [{**item, "name": names.get(item["item_template_id"])} for item in gained]
