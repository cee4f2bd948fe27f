"""Finished fights to settle: documents of 3-4 KB, the same for the same seed.

Two players, belt items used up, durability lost, loot, rewards and penalties, and a
fight log. One combat in ten uses up the last item of a row. Characters are drawn
evenly: no hot players, no faults.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import orjson

from benchmarks import world
from benchmarks.world import Kit, row_id
from persistence.engine.handoff import Handoff, checked

FIRST_FIGHT_ENDED = 1_735_460_000
LAST_ITEM_EVERY = 10
TURNS = 24
ACTIONS = ("attack", "block", "dodge", "use_item", "heavy_attack")

Json = dict[str, Any]


@dataclass(frozen=True)
class Backlog:
    """Raw documents in the order they ended."""

    raws: Sequence[bytes]

    def first(self, count: int) -> Backlog:
        return Backlog(self.raws[:count])

    def __len__(self) -> int:
        return len(self.raws)

    @cached_property
    def handoffs(self) -> list[Handoff]:
        return [checked(raw) for raw in self.raws]

    @property
    def mean_bytes(self) -> int:
        return sum(map(len, self.raws)) // len(self.raws)


def generate(count: int, seed: str, characters: int = world.CHARACTERS) -> Backlog:
    return Backlog([orjson.dumps(fight) for fight in _fights(count, seed, characters)])


def hide_from_collector() -> None:
    """An engine has no backlog in its memory for the collector to walk through."""
    gc.collect()
    gc.freeze()


def _fights(count: int, seed: str, characters: int) -> Iterator[Json]:
    dice = random.Random(seed)
    scrolls = list(range(1, characters + 1))
    dice.shuffle(scrolls)
    for number in range(count):
        last_item_of = scrolls.pop() if number % LAST_ITEM_EVERY == 0 else None
        winner = last_item_of or dice.randint(1, characters)
        loser = (winner + dice.randrange(characters - 1)) % characters + 1
        ended = FIRST_FIGHT_ENDED + number // 50
        yield _fight(dice, ended, winner, loser, uses_scroll=last_item_of is not None)


def _fight(
    dice: random.Random, ended: int, winner: int, loser: int, *, uses_scroll: bool
) -> Json:
    """`uses_scroll`: the winner's only one."""
    return {
        "session_id": str(_session_id(dice, ended)),
        "meta": {
            "end_timestamp": ended,
            "winner_team": "blue",
            "finish_reason": "victory",
        },
        "participants": {
            str(winner): _winner(dice, winner, uses_scroll=uses_scroll),
            str(loser): _loser(dice, loser),
        },
        "replay_log": _replay(dice, winner, loser),
    }


def _session_id(dice: random.Random, ended: int) -> UUID:
    """UUIDv7, as engines are advised to make them: the key's index stays local."""
    value = (ended * 1000 << 80) | dice.getrandbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def _winner(dice: random.Random, char_id: int, *, uses_scroll: bool) -> Json:
    changes: Json = {
        "xp_gained": dice.randint(100, 2000),
        "gold_gained": dice.randint(10, 200),
        "items_consumed": _consumed(dice, char_id, uses_scroll=uses_scroll),
        "durability_loss": {f"item:{world.SWORD}": dice.randint(1, 5)},
    }
    shown: list[Json] = []
    luck = dice.random()
    if luck < 0.3:
        shown = [{"name": world.PELT_NAME, "qty": dice.randint(1, 3)}]
    elif luck < 0.5:
        changes["items_gained"] = [{"item_template_id": world.PELT, "qty": 1}]
    elif luck < 0.55:
        trinket = f"trinket_{dice.randint(1, world.TRINKETS)}"
        changes["items_gained"] = [{"item_template_id": trinket, "qty": 2}]
    elif luck < 0.57:
        changes["items_gained"] = [{"item_template_id": world.RING, "qty": 1}]
    return _participant(dice, "blue", changes, shown)


def _loser(dice: random.Random, char_id: int) -> Json:
    changes: Json = {
        "xp_gained": dice.randint(10, 100),
        "gold_gained": -dice.randint(0, 50),
        "items_consumed": _consumed(dice, char_id, uses_scroll=False),
        "durability_loss": {
            f"item:{world.SWORD}": dice.randint(1, 5),
            f"inventory:{row_id(char_id, Kit.PLATE)}": dice.randint(1, 10),
        },
    }
    return _participant(dice, "red", changes, [])


def _participant(
    dice: random.Random, team: str, changes: Json, shown: list[Json]
) -> Json:
    return {
        "is_winner": team == "blue",
        "team": team,
        "state_snapshot": {"hp": dice.randint(1, 500), "energy": dice.randint(0, 100)},
        "changes": changes,
        "ui_report": {"damage_dealt": dice.randint(500, 9000), "loot_obtained": shown},
    }


def _consumed(dice: random.Random, char_id: int, *, uses_scroll: bool) -> list[Json]:
    """One entry per use, as the engine's log has them."""
    consumed = [
        {
            "inventory_id": row_id(char_id, Kit.POTIONS),
            "item_template_id": world.POTION,
            "qty": 1,
        }
        for _ in range(dice.randint(0, 3))
    ]
    if uses_scroll:
        consumed.append(
            {
                "inventory_id": row_id(char_id, Kit.SCROLL),
                "item_template_id": world.SCROLL,
                "qty": 1,
            }
        )
    return consumed


def _replay(dice: random.Random, winner: int, loser: int) -> list[Json]:
    turns = []
    for turn in range(1, TURNS + 1):
        actor, target = (winner, loser) if turn % 2 else (loser, winner)
        turns.append(
            {
                "turn": turn,
                "actor": str(actor),
                "target": str(target),
                "action": dice.choice(ACTIONS),
                "amount": dice.randint(0, 400),
                "hp": {str(target): dice.randint(1, 500)},
            }
        )
    return turns
