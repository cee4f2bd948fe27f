"""Fights of players: begin, join, hit, drink, flee, end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from persistence.contract.errors import CombatInProgress, ItemSpent
from persistence.dispatcher import SyncDispatcher

HP, HIT, DRAUGHT = 100, 40, 30
STAKE = {"balances": {"rating:pvp": -16}}
LOOT = [{"item_template_id": "wolf_pelt", "qty": 1}]
GLORY = {"xp_gained": 10, "gold_gained": 25, "balances": {"rating:pvp": 16}}
PRIZE = {**GLORY, "items_gained": LOOT}


@dataclass
class Fight:
    """What the game itself has to know of a fight; Redis has the rest."""

    id: UUID = field(default_factory=uuid4)
    teams: dict[int, str] = field(default_factory=dict)
    hp: dict[int, int] = field(default_factory=dict)
    belts: dict[int, list[Any]] = field(default_factory=dict)
    turn: int = 0

    def stands(self, team: str) -> bool:
        return any(self.hp.get(i) for i, t in self.teams.items() if t == team)


class Arena:
    def __init__(self, door: SyncDispatcher) -> None:
        self._door = door
        self.fights: dict[int, Fight] = {}
        self.last: dict[int, UUID] = {}

    async def challenge(self, char_id: int, rival: int) -> str:
        fight, teams = Fight(), {char_id: "blue", rival: "red"}
        try:
            begun = await self._door.start_combat(fight.id, teams, teams)
        except CombatInProgress as busy:
            return f"{busy.char_id} is fighting already"
        self._enter(fight, teams, begun.actors)
        return f"A fight! Potions: {sum(i.quantity for i in fight.belts[char_id])}"

    async def join(self, char_id: int, friend: int) -> str:
        fight = self.fights[friend]
        team = {char_id: fight.teams[friend]}
        begun = await self._door.join(fight.id, team)
        self._enter(fight, team, begun.actors)
        return f"You are in it, for {team[char_id]}"

    async def hit(self, char_id: int, victim: int) -> str:
        fight = self.fights[char_id]
        fight.turn += 1
        fight.hp[victim] = max(0, fight.hp[victim] - HIT)
        return f"{victim} has {fight.hp[victim]} hp{await self._end(fight, 'victory')}"

    async def drink(self, char_id: int) -> str:
        fight = self.fights[char_id]
        fight.turn += 1
        row, turn = fight.belts[char_id][0].inventory_id, f"turn-{fight.turn}"
        try:
            left = await self._door.use_item(fight.id, char_id, row, turn)
        except ItemSpent:
            return "Nothing to drink"
        fight.hp[char_id] = min(HP, fight.hp[char_id] + DRAUGHT)
        return f"You have {fight.hp[char_id]} hp, and {left} potions"

    async def flee(self, char_id: int) -> str:
        fight = self.fights.pop(char_id)
        await self._door.leave(fight.id, char_id)
        del fight.hp[char_id]
        return f"You ran{await self._end(fight, 'flee')}"

    def _enter(self, fight: Fight, teams: dict[int, str], actors: Any) -> None:
        for char_id, team in teams.items():
            fight.teams[char_id], fight.hp[char_id] = team, HP
            fight.belts[char_id] = actors[char_id].belt_items
            self.fights[char_id], self.last[char_id] = fight, fight.id

    async def _end(self, fight: Fight, reason: str) -> str:
        """Once a side is down: the outcome, and nothing that Redis knows by itself."""
        if fight.stands("blue") and fight.stands("red"):
            return ""
        winner = "blue" if fight.stands("blue") else "red"
        parts: dict[int, Any] = {id_: {"changes": STAKE} for id_ in fight.teams}
        for char_id, hp in fight.hp.items():
            won = fight.teams[char_id] == winner
            parts[char_id]["state_snapshot"] = {"hp": hp, "energy": 0}
            parts[char_id]["changes"] = PRIZE if won else STAKE
            del self.fights[char_id]
        meta = {"winner_team": winner, "finish_reason": reason}
        outcome = {"meta": meta, "participants": parts}
        await self._door.finish_combat(fight.id, outcome)
        return f". {winner} has won"
