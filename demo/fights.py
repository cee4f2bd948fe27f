"""One fight, turn by turn. Pure: the same generator state gives the same fight."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from demo.world import BeltRow, Fighter

MAX_TURNS = 40
POTION_HP = 40
MONSTERS = (
    ("goblin", "Гоблин", 90),
    ("wolf", "Волк", 70),
    ("spider", "Паук", 60),
    ("troll", "Тролль", 220),
)


@dataclass
class Actor:
    """Somebody in a fight; monsters and shadows have no `fighter`."""

    key: str
    name: str
    team: str
    hp: int
    energy: int = 100
    fighter: Fighter | None = None
    drunk: Counter[int] = field(default_factory=Counter)
    """Pieces used up, by inventory row."""
    damage_dealt: int = 0
    hits_taken: int = 0
    fled: bool = False

    @property
    def is_standing(self) -> bool:
        return self.hp > 0 and not self.fled


@dataclass
class Fight:
    actors: list[Actor]
    turns: list[dict[str, Any]]
    winner_team: str | None
    finish_reason: str

    @property
    def players(self) -> list[tuple[Fighter, Actor]]:
        return [(a.fighter, a) for a in self.actors if a.fighter is not None]


def player(rng: Random, fighter: Fighter, team: str) -> Actor:
    hp = rng.randrange(120, 260)
    return Actor(str(fighter.id), fighter.name, team, hp, fighter=fighter)


def monsters(rng: Random, count: int, team: str) -> list[Actor]:
    kinds = [rng.choice(MONSTERS) for _ in range(count)]
    return [
        Actor(f"{kind}_{number}", name, team, hp)
        for number, (kind, name, hp) in enumerate(kinds, 1)
    ]


def shadow(fighter: Fighter, team: str) -> Actor:
    """The arena's copy of a character: its key is the negative id."""
    return Actor(f"-{fighter.id}", f"Тень: {fighter.name}", team, 160)


def simulate(rng: Random, actors: list[Actor]) -> Fight:
    """Fight until one team stands, or until time is up (a draw).

    Potions are taken from the fighters' belts, which afterwards hold what is left.
    """
    turns: list[dict[str, Any]] = []
    limit = rng.choice((6, MAX_TURNS, MAX_TURNS, MAX_TURNS))
    while len(turns) < limit and len(_teams(actors)) > 1:
        for actor in actors:
            if actor.is_standing and len(_teams(actors)) > 1:
                turns.append(_turn(rng, actor, actors, len(turns) + 1))
    return _ended(actors, turns)


def _teams(actors: list[Actor]) -> set[str]:
    return {actor.team for actor in actors if actor.is_standing}


def _turn(
    rng: Random, actor: Actor, actors: list[Actor], number: int
) -> dict[str, Any]:
    if actor.fighter is not None and actor.hp < 60:
        row = _potion(actor.fighter)
        if row is not None and rng.random() < 0.6:
            return _drink(actor, row, number)
        if rng.random() < 0.15:
            actor.fled = True
            return _entry(number, actor, actor, "flee", 0)
    enemies = [a for a in actors if a.team != actor.team and a.is_standing]
    return _strike(rng, actor, rng.choice(enemies), number)


def _potion(fighter: Fighter) -> BeltRow | None:
    return next((row for row in fighter.belt if row.left > 0), None)


def _drink(actor: Actor, row: BeltRow, number: int) -> dict[str, Any]:
    row.left -= 1
    actor.drunk[row.id] += 1
    actor.hp += POTION_HP
    return _entry(number, actor, actor, "use_item", POTION_HP, item=row.template)


def _strike(rng: Random, actor: Actor, target: Actor, number: int) -> dict[str, Any]:
    is_skill = actor.energy >= 25 and rng.random() < 0.3
    amount = rng.randrange(25, 60) if is_skill else rng.randrange(8, 40)
    actor.energy -= 25 if is_skill else 3
    actor.energy = max(0, actor.energy)
    amount = min(amount, target.hp)
    target.hp -= amount
    target.hits_taken += 1
    actor.damage_dealt += amount
    return _entry(number, actor, target, "skill" if is_skill else "attack", amount)


def _entry(
    number: int, actor: Actor, target: Actor, action: str, amount: int, **more: Any
) -> dict[str, Any]:
    return {
        "turn": number,
        "actor": actor.key,
        "target": target.key,
        "action": action,
        "amount": amount,
        "hp": {target.key: target.hp},
        **more,
    }


def _ended(actors: list[Actor], turns: list[dict[str, Any]]) -> Fight:
    standing = _teams(actors)
    if len(standing) != 1:
        return Fight(actors, turns, None, "draw")
    (winner,) = standing
    if any(actor.fled for actor in actors):
        reason = "flee"
    elif any(a.fighter for a in actors if a.team == winner):
        reason = "victory"
    else:
        reason = "defeat"
    return Fight(actors, turns, winner, reason)
