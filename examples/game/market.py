"""All but fights: the world, told over HTTP, and an operation for each deed."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from typing import Any
from urllib.request import Request, urlopen

from persistence.contract.errors import OperationRefused
from persistence.dispatcher import SyncDispatcher

CATALOGUE: dict[str, dict[str, Any]] = {
    "items/hp_pot_small": {"name": "Малое зелье", "name_en": "Small potion"},
    "items/wolf_pelt": {"name": "Шкура волка", "name_en": "Wolf pelt"},
    "items/sword_epic": {"name": "Меч", "name_en": "Sword", "stackable": False},
    "balances/rating:pvp": {"name": "Рейтинг", "name_en": "Rating"},
}
PRICES = {"hp_pot_small": 10}
START = {"gold": 100, "balances": {"rating:pvp": 1000}}


class Market:
    """Knows by heart which row of whom holds what, as the answers have told."""

    def __init__(self, door: SyncDispatcher) -> None:
        self._door = door
        self.rows: defaultdict[int, dict[str, int]] = defaultdict(dict)

    async def welcome(self, char_id: int) -> str:
        """What a character comes with counts once, however often he starts."""
        told = {"name": f"Player {char_id}", "opening": START}
        made = await asyncio.to_thread(put, f"characters/{char_id}", told)
        return f"Welcome: {made['gold']} gold"

    async def buy(self, name: str, char_id: int, item: str, qty: int) -> str:
        paid = {"gold_gained": -PRICES[item] * qty}
        return await self._done(name, {char_id: paid | _gained(item, qty)}, "Shop")

    async def quest(self, char_id: int, quest: str) -> str:
        change = {"xp_gained": 5, **_gained("wolf_pelt", 3)}
        name = f"quest-{quest}-{char_id}"
        return await self._done(name, {char_id: change}, f"Quest {quest}")

    async def craft(self, name: str, char_id: int) -> str:
        """A rolled sword of two pelts and some gold: a piece like no other."""
        pelts = self._taken(char_id, "wolf_pelt", 2)
        sword = _gained("sword_epic", 1, properties={"sharp": 3})
        change = {"gold_gained": -5, **pelts, **sword}
        return await self._done(name, {char_id: change}, "Craft")

    async def trade(self, name: str, seller: int, buyer: int, item: str) -> str:
        price = PRICES.get(item, 15)
        changes = {
            seller: {"gold_gained": price, **self._taken(seller, item, 1)},
            buyer: {"gold_gained": -price, **_gained(item, 1)},
        }
        return await self._done(name, changes, "Trade")

    async def equip(self, name: str, char_id: int, item: str) -> str:
        row = self.rows[char_id][item]
        move = {"op_id": name, "op": "equip", "inventory_id": row, "slot": "belt_1"}
        await self._door.change_inventory(char_id, [move])
        return "On your belt in a moment"

    async def _done(self, name: str, changes: dict[int, Any], reason: str) -> str:
        try:
            answer = await self._door.operate(name, changes, reason=reason)
        except OperationRefused as refused:
            return f"No: {refused.code}"
        for char_id, after in answer.characters.items():
            for move in after.items:
                self.rows[char_id][move["item_template_id"]] = move["inventory_id"]
        own = answer.characters[next(iter(changes))]
        return f"{'Again' if answer.duplicate else 'Done'}: {own.gold} gold"

    def _taken(self, char_id: int, item: str, qty: int) -> dict[str, Any]:
        row = self.rows[char_id][item]
        return {"items_consumed": [{"inventory_id": row, "qty": qty}]}


def _gained(item: str, qty: int, **more: Any) -> dict[str, Any]:
    return {"items_gained": [{"item_template_id": item, "qty": qty, **more}]}


def put(path: str, body: dict[str, Any]) -> Any:
    """Raises HTTPError, whose body says why it was refused."""
    token = {"Authorization": f"Bearer {os.environ['SETTLEMENT_API_TOKEN']}"}
    url = f"{os.environ['SETTLEMENT_API_URL']}/api/{path}"
    asked = Request(url, json.dumps(body).encode(), token, method="PUT")
    with urlopen(asked, timeout=5) as answer:
        return json.load(answer)
