"""The result payload of a simulated fight, right or wrong in a chosen way.

`Gain` is what the engine decided; the document says it in the words of the contract,
in every form the contract allows. The model adds up gains and never reads a document.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from combat_history.management.commands.seed_world import CATALOGUE
from demo.fights import Actor, Fight
from demo.world import Fighter

Document = dict[str, Any]

_NAMES = {template: (name, name_en) for template, name, name_en, _ in CATALOGUE}
_TROPHIES = [template for template, *_, durability in CATALOGUE if durability is None]
_ARMS = [template for template, *_, durability in CATALOGUE if durability is not None]


@dataclass
class Gain:
    """What one fight changes for one character; amounts are those really due."""

    xp: int
    gold: int
    hp: int
    energy: int
    used: list[tuple[int, str, int]] = field(default_factory=list)
    """(inventory row, template, pieces)."""
    worn: dict[int, int] = field(default_factory=dict)
    """Points lost, by inventory row of equipped gear."""
    loot: dict[str, int] = field(default_factory=dict)
    """Pieces by template."""


def gains_of(rng: Random, fight: Fight) -> dict[int, Gain]:
    """Decide what every player of a fight gets and loses."""
    return {
        fighter.id: _gain(rng, fight, fighter, actor)
        for fighter, actor in fight.players
    }


def _gain(rng: Random, fight: Fight, fighter: Fighter, actor: Actor) -> Gain:
    won = actor.team == fight.winner_team
    templates = {row.id: row.template for row in fighter.belt}
    return Gain(
        xp=rng.randrange(60, 400) if won else rng.randrange(30),
        gold=rng.randrange(5, 120) if won else -_penalty(rng, fight, fighter),
        hp=max(0, actor.hp),
        energy=actor.energy,
        used=[(row, templates[row], qty) for row, qty in actor.drunk.items()],
        worn={
            gear.id: rng.randrange(1, 4) for gear in fighter.gear if actor.hits_taken
        },
        loot=_loot(rng) if won and rng.random() < 0.6 else {},
    )


def _penalty(rng: Random, fight: Fight, fighter: Fighter) -> int:
    """Never more than the purse held before the run, whatever the order of fights."""
    if fight.winner_team is None or rng.random() < 0.5:
        return 0
    penalty = min(rng.randrange(1, 25), fighter.purse)
    fighter.purse -= penalty
    return penalty


def _loot(rng: Random) -> dict[str, int]:
    loot = {rng.choice(_TROPHIES): rng.randrange(1, 4) for _ in range(2)}
    if rng.random() < 0.1:
        loot[rng.choice(_ARMS)] = 1
    return loot


def compose(
    rng: Random, session_id: str, ended_at: int, fight: Fight, gains: dict[int, Gain]
) -> Document:
    """The document a game server would send. `ended_at`: Unix seconds."""
    return {
        "session_id": session_id,
        "meta": {
            "end_timestamp": ended_at,
            "winner_team": fight.winner_team,
            "finish_reason": fight.finish_reason,
            "arena": rng.choice(("forest", "swamp", "ruins", "bridge")),
        },
        "participants": {
            actor.key: _player(rng, actor, fight, gains[actor.fighter.id])
            if actor.fighter
            else _monster(actor)
            for actor in fight.actors
        },
        "replay_log": fight.turns,
    }


def _monster(actor: Actor) -> Document:
    return {"name": actor.name, "team": actor.team, "hp": max(0, actor.hp), "ai": True}


def _player(rng: Random, actor: Actor, fight: Fight, gain: Gain) -> Document:
    changes: Document = {
        "xp_gained": gain.xp,
        "gold_gained": gain.gold,
        "items_consumed": _consumed(rng, gain),
        "durability_loss": _durability_loss(rng, actor, gain),
    }
    report: Document = {"damage_dealt": actor.damage_dealt}
    if rng.random() < 0.5:
        changes["items_gained"] = [
            {"item_template_id": template, "qty": qty}
            for template, qty in gain.loot.items()
        ]
    else:
        # As in the sample: the only word on loot is what the player sees.
        language = rng.randrange(2)
        report["loot_obtained"] = [
            {"name": _NAMES[template][language], "qty": qty}
            for template, qty in gain.loot.items()
        ]
    return {
        "is_winner": actor.team == fight.winner_team,
        "team": actor.team,
        "name": actor.name,
        "state_snapshot": {"hp": gain.hp, "energy": gain.energy},
        "changes": changes,
        "ui_report": report,
    }


def _consumed(rng: Random, gain: Gain) -> list[Document]:
    """One entry a row or one a use; either is allowed."""
    entries = []
    for row, template, qty in gain.used:
        one_by_one = rng.random() < 0.5
        entries += [
            {
                "inventory_id": row,
                "item_template_id": template,
                "qty": 1 if one_by_one else qty,
            }
            for _ in range(qty if one_by_one else 1)
        ]
    return entries


def _durability_loss(rng: Random, actor: Actor, gain: Gain) -> dict[str, int]:
    """Gear is named by its row, or by its template, which hits the equipped piece."""
    gear = actor.fighter.gear if actor.fighter else []
    templates = {piece.id: piece.template for piece in gear}
    return {
        f"inventory:{row}" if rng.random() < 0.3 else f"item:{templates[row]}": points
        for row, points in gain.worn.items()
    }


def conflicting(document: Document) -> Document:
    """Another document for the same fight: somebody made it worth ten times more."""
    forged = copy.deepcopy(document)
    for result in forged["participants"].values():
        if "changes" in result:
            result["changes"]["xp_gained"] = result["changes"]["xp_gained"] * 10 + 1
    return forged


def respelt(rng: Random, document: Document) -> Document | str:
    """The same document as another retry may write it: keys in another order."""
    keys = list(document)
    rng.shuffle(keys)
    shuffled = {key: document[key] for key in keys}
    return shuffled if rng.random() < 0.5 else json.dumps(shuffled, indent=1)


def unknown_loot(rng: Random, document: Document) -> Document:
    """Loot that no catalogue knows, by name or by template id."""
    changes, report = _first_player(document)
    if rng.random() < 0.5:
        report["loot_obtained"] = [{"name": "Осколок упавшей звезды", "qty": 1}]
        changes.pop("items_gained", None)
    else:
        changes["items_gained"] = [{"item_template_id": "star_shard", "qty": 1}]
    return document


def _first_player(document: Document) -> tuple[Document, Document]:
    for result in document["participants"].values():
        if "changes" in result:
            return result["changes"], result["ui_report"]
    raise ValueError("a fight of monsters only")


def _without_id(document: Document) -> str:
    return json.dumps({k: v for k, v in document.items() if k != "session_id"})


def _with_bad_id(document: Document) -> str:
    return json.dumps({**document, "session_id": f"fight-{document['session_id']}"})


def _cut_off(document: Document) -> str:
    return json.dumps(document)[:-20]


def _in_a_list(document: Document) -> str:
    return json.dumps([document])


def _word_for_number(document: Document) -> str:
    _first_player(document)[0]["xp_gained"] = "many"
    return json.dumps(document)


def _misspelt_reward(document: Document) -> str:
    _first_player(document)[0]["gold_gaind"] = 50
    return json.dumps(document)


def _beyond_bounds(document: Document) -> str:
    _first_player(document)[0]["gold_gained"] = 10**15
    return json.dumps(document)


@dataclass(frozen=True)
class Fault:
    """A way to break a document, and how the contract answers."""

    apply: Callable[[Document], str]
    code: str
    has_row: bool
    """Whether it still names its session: then it fails visibly as a row."""


FAULTS = (
    Fault(_without_id, "bad_session_id", has_row=False),
    Fault(_word_for_number, "invalid_payload", has_row=True),
    Fault(_cut_off, "invalid_payload", has_row=False),
    Fault(_misspelt_reward, "invalid_payload", has_row=True),
    Fault(_in_a_list, "not_an_object", has_row=False),
    Fault(_beyond_bounds, "out_of_range", has_row=True),
    Fault(_with_bad_id, "bad_session_id", has_row=False),
)
