"""All that a game's combat engine writes to fight with this system.

The engine's own: a fight has `id`, `winner` and `actors` by character id; an actor has
`team`, `hp`, `energy` and `rewards`, and gets the `belt` to play with. Each call may be
made again where it was not confirmed: a use is known by its turn.
"""

from __future__ import annotations

from typing import Any

from persistence.dispatcher import SyncDispatcher


class Settlement:
    def __init__(self, door: SyncDispatcher) -> None:
        self.door = door

    async def begin(self, fight: Any) -> None:
        teams = {id_: actor.team for id_, actor in fight.actors.items()}
        started = await self.door.start_combat(fight.id, teams, teams)
        for id_, actor in started.actors.items():
            fight.actors[id_].belt = actor.belt_items

    async def use(self, fight: Any, id_: int, item: Any, turn: str) -> None:
        item.quantity = await self.door.use_item(fight.id, id_, item.inventory_id, turn)

    async def end(self, fight: Any, reason: str) -> None:
        meta = {"winner_team": fight.winner, "finish_reason": reason}
        parts = {id_: _result(actor) for id_, actor in fight.actors.items()}
        await self.door.finish_combat(fight.id, {"meta": meta, "participants": parts})


def _result(actor: Any) -> dict[str, Any]:
    vitals = {"hp": actor.hp, "energy": actor.energy}
    return {"state_snapshot": vitals, "changes": actor.rewards}
