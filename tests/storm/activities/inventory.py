"""Inventory operations, in order for each player: sound, doubled, reused, hopeless."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from persistence.contract.errors import DispatchFailed, ItemReserved
from tests.storm.book import Line
from tests.storm.game import RETRY_SECONDS, Game, done_with
from tests.storm.world import HERB, herb_row

CALLS_PER_FIGHT = 0.5
MOST_AT_ONCE = 3
AGAIN = 0.1


def change(game: Game, past: list[Line]) -> None:
    """Calls of one to three operations; what had no answer comes first."""
    for call in _left_over(past):
        _until_answered(game, call["char"], call["ops"], call["call"])
    while game.pause(CALLS_PER_FIGHT):
        char_id = game.chance.choice(game.players)
        count = game.chance.randint(1, MOST_AT_ONCE)
        operations = [_operation(game, char_id) for _ in range(count)]
        call_id = uuid4().hex
        _write(game, "ops offer", call_id, char_id, operations)
        _until_answered(game, char_id, operations, call_id)
        if game.chance.random() < AGAIN:
            _until_answered(game, char_id, operations, call_id)


def _operation(game: Game, char_id: int) -> dict[str, Any]:
    dice = game.chance
    op_id = uuid4().hex
    qty = dice.randint(1, 3)
    kind = dice.choices(("add", "remove", "split", "unknown", "short"), (9, 6, 2, 1, 1))
    return {
        "add": {"op": "add", "item_template_id": HERB, "qty": qty},
        "remove": {"op": "remove", "item_template_id": HERB, "qty": qty},
        "split": {"op": "split", "inventory_id": herb_row(char_id), "qty": 1},
        "unknown": {"op": "add", "item_template_id": "unheard_of", "qty": qty},
        "short": {"op": "remove", "item_template_id": HERB, "qty": 1_000_000},
    }[kind[0]] | {"op_id": op_id}


def parks_as(operation: dict[str, Any]) -> str | None:
    """The code it has to be parked with, if it cannot be applied."""
    if operation.get("item_template_id") == "unheard_of":
        return "unknown_item"
    return "item_shortage" if operation["qty"] >= 1_000_000 else None


def _until_answered(
    game: Game, char_id: int, operations: list[dict[str, Any]], call_id: str
) -> None:
    while True:
        try:
            game.dispatcher.change_inventory_sync(char_id, operations)
        except DispatchFailed:
            time.sleep(RETRY_SECONDS)
        except ItemReserved as error:
            # Herbs are on nobody's belt.
            game.book.write("fault", activity="operations", error=repr(error))
            return
        else:
            game.book.write("ops", call=call_id, char=char_id, count=len(operations))
            return


def _write(
    game: Game, kind: str, call_id: str, char_id: int, operations: list[dict[str, Any]]
) -> None:
    game.book.write(kind, call=call_id, char=char_id, ops=operations)


def _left_over(past: list[Line]) -> list[Line]:
    """In the order in which they were asked for; lately answered ones as well."""
    done = done_with(past, {"ops"}, "call")
    return [
        line
        for line in past
        if line["kind"] == "ops offer" and line["call"] not in done
    ]
