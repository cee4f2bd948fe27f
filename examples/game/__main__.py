"""The bot's loop: a line is an update, `101 /buy hp_pot_small 3`; so is each reply.

    REDIS_URL=… SETTLEMENT_API_URL=… SETTLEMENT_API_TOKEN=… python -m examples.game
In a bot of Telegram lines are messages, and their numbers its `update_id`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from examples.game.fights import Arena
from examples.game.market import CATALOGUE, Market, put
from persistence.bot.client import HttpResults
from persistence.dispatcher import SyncDispatcher


class Game:
    def __init__(self, door: SyncDispatcher, results: HttpResults) -> None:
        self._market, self._arena = Market(door), Arena(door)
        self._results = results

    async def handle(self, update: int, char_id: int, text: str) -> str:
        """`update` makes the names of what is done once, also if it comes twice."""
        command, *words = text.split()
        market, arena, name = self._market, self._arena, f"update-{update}"
        deeds: dict[str, Callable[..., Awaitable[str]]] = {
            "/start": lambda: market.welcome(char_id),
            "/buy": lambda item, qty: market.buy(name, char_id, item, int(qty)),
            "/quest": lambda quest: market.quest(char_id, quest),
            "/craft": lambda: market.craft(name, char_id),
            "/trade": lambda to, item: market.trade(name, char_id, int(to), item),
            "/belt": lambda item: market.equip(name, char_id, item),
            "/fight": lambda rival: arena.challenge(char_id, int(rival)),
            "/join": lambda friend: arena.join(char_id, int(friend)),
            "/hit": lambda victim: arena.hit(char_id, int(victim)),
            "/drink": lambda: arena.drink(char_id),
            "/flee": lambda: arena.flee(char_id),
            "/result": lambda: self._result(char_id),
        }
        return await deeds[command](*words)

    async def _result(self, char_id: int) -> str:
        """How the last fight ended, once it is true."""
        fight = self._arena.last[char_id]
        while not (it := await self._results(fight, char_id, "ru")).is_final:
            await asyncio.sleep(0.1)
        return it.short.replace("\n", " ")


async def main() -> None:
    for path, kind in CATALOGUE.items():
        put(path, kind)
    door = SyncDispatcher.from_env()
    api = os.environ["SETTLEMENT_API_URL"], os.environ["SETTLEMENT_API_TOKEN"]
    results = HttpResults(*api)
    game = Game(door, results)
    try:
        for number, line in enumerate(sys.stdin):
            char_id, _, text = line.strip().partition(" ")
            reply = await game.handle(number, int(char_id), text)
            print(f"{char_id}: {reply}", flush=True)
    finally:
        await results.aclose()
        await door.aclose()


if __name__ == "__main__":
    asyncio.run(main())
