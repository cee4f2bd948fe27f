"""examples/engine_adapter.py: how little a game's engine writes, and that it works."""

from __future__ import annotations

import ast
import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from combat_history.models import Character, CombatHistory, InventoryItem
from examples import engine_adapter
from examples.engine_adapter import Settlement
from persistence.contract.payload import BeltItem
from persistence.dispatcher import SyncDispatcher
from tests.support.documents import HERO, PELT, POTION
from tests.support.factories import add_character
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess

RIVAL = 102

pytestmark = pytest.mark.usefixtures("world")


@dataclass
class Actor:
    team: str
    hp: int = 100
    energy: int = 50
    rewards: dict[str, Any] = field(default_factory=dict)
    belt: list[BeltItem] = field(default_factory=list)


@dataclass
class Fight:
    id: UUID
    actors: dict[int, Actor]
    winner: str | None = None


def lines_of_code(path: str) -> set[int]:
    """Where statements and expressions begin, the module's docstring apart."""
    _, *body = ast.parse(Path(path).read_text("utf-8")).body
    nodes = (node for statement in body for node in ast.walk(statement))
    return {node.lineno for node in nodes if isinstance(node, ast.expr | ast.stmt)}


async def play(fight: Fight) -> None:
    dispatcher = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL, timeout=10)
    game = Settlement(dispatcher)
    await game.begin(fight)
    hero, rival = fight.actors[HERO], fight.actors[RIVAL]
    (potion,) = hero.belt
    for turn in ("1", "2", "2"):
        rival.hp -= 40
        await game.use(fight, HERO, potion, turn)
    assert potion.quantity == 3
    hero.hp, fight.winner = 60, hero.team
    hero.rewards = {
        "xp_gained": 30,
        "items_gained": [{"item_template_id": PELT, "qty": 1}],
    }
    rival.hp = 0
    await game.end(fight, "victory")
    await dispatcher.aclose()


def test_a_fight_of_the_games_own_engine_is_settled(
    worker: CeleryProcess, fight: UUID
) -> None:
    add_character(RIVAL)

    asyncio.run(play(Fight(fight, {HERO: Actor("blue"), RIVAL: Actor("red")})))

    wait_until(
        lambda: CombatHistory.objects.filter(settlement_status="processed").exists(),
        "the fight is settled",
    )
    parts = CombatHistory.objects.get(pk=fight).result_payload["participants"]
    assert {id_: part["is_winner"] for id_, part in parts.items()} == {
        "101": True,
        "102": False,
    }
    hero = Character.objects.get(pk=HERO)
    assert (hero.xp, hero.hp) == (30, 60)
    assert InventoryItem.objects.get(pk=POTION).quantity == 3
    assert Character.objects.get(pk=RIVAL).hp == 0


def test_it_takes_no_more_than_twenty_lines() -> None:
    assert len(lines_of_code(engine_adapter.__file__)) <= 20
