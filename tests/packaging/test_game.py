"""A small game, by the wheel alone, against worker, web server and both databases."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    NamedBalance,
)
from combat_history.reconcile import reconcile
from tests.packaging.environments import examples_alone, interpreter, outside
from tests.support.api import TOKEN
from tests.support.documents import HERO
from tests.support.mortal import mortal
from tests.support.waiting import wait_until
from tests.support.web import running_web
from tests.support.worker import environment

ANNA, BORIS, VERA = HERO, 102, 103

Say = Callable[[int, str], str]


@pytest.fixture
def say(
    transactional_db: None, redis_client: redis.Redis, worker: object, tmp_path: Path
) -> Iterator[Say]:
    """A message to the bot, and what it replies. The world is the bot's to make."""
    with running_web(tmp_path / "uvicorn.log") as web, bot(web.address) as process:

        def message(char_id: int, text: str) -> str:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{char_id} {text}\n")
            process.stdin.flush()
            told = process.stdout.readline()
            assert told, "the bot has ended"
            return told.partition(": ")[2].strip()

        yield message


def bot(address: str) -> subprocess.Popen[str]:
    servers = {k: v for k, v in environment().items() if k.endswith("_URL")}
    return subprocess.Popen(
        mortal(str(interpreter("game")), "-m", "examples.game"),
        cwd=examples_alone(),
        env={
            **outside(),
            **servers,
            "SETTLEMENT_API_URL": address,
            "SETTLEMENT_API_TOKEN": TOKEN,
            "SETTLEMENT_SUBMIT_TIMEOUT_SECONDS": "10",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_an_evening_of_three_players(say: Say) -> None:
    for char_id in (ANNA, BORIS, VERA):
        assert say(char_id, "/start") == "Welcome: 100 gold"

    assert say(ANNA, "/buy hp_pot_small 3") == "Done: 70 gold"
    assert say(ANNA, "/start") == "Welcome: 70 gold"
    assert say(BORIS, "/buy hp_pot_small 11") == "No: shortage"
    assert say(BORIS, "/quest wolves") == "Done: 100 gold"
    assert say(BORIS, "/quest wolves") == "Again: 100 gold"
    assert say(BORIS, "/craft") == "Done: 95 gold"
    assert say(BORIS, "/trade 103 wolf_pelt") == "Done: 110 gold"
    assert say(BORIS, "/trade 103 wolf_pelt") == "No: shortage"
    assert say(ANNA, "/belt hp_pot_small") == "On your belt in a moment"
    wait_until(lambda: InventoryItem.objects.filter(slot="belt_1").exists(), "it is")

    assert say(ANNA, "/fight 102") == "A fight! Potions: 3"
    assert say(VERA, "/fight 102") == "102 is fighting already"
    assert say(ANNA, "/trade 103 hp_pot_small") == "No: item_reserved"
    assert say(BORIS, "/hit 101") == "101 has 60 hp"
    assert say(ANNA, "/drink") == "You have 90 hp, and 2 potions"
    assert say(VERA, "/join 102") == "You are in it, for red"
    assert say(VERA, "/flee") == "You ran"
    assert say(ANNA, "/hit 102") == "102 has 60 hp"
    assert say(ANNA, "/hit 102") == "102 has 20 hp"
    assert say(ANNA, "/hit 102") == "102 has 0 hp. blue has won"
    assert "25" in say(ANNA, "/result")
    # The newer fight says what hp is left; of one second, the id does, drawn by lot.
    ended = int(time.time())
    wait_until(lambda: int(time.time()) > ended, "the next second")
    assert say(VERA, "/fight 102") == "A fight! Potions: 0"
    assert say(VERA, "/flee") == "You ran. red has won"
    assert say(BORIS, "/result")
    assert say(ANNA, "/trade 103 hp_pot_small") == "Done: 105 gold"

    all_is_true()


def all_is_true() -> None:
    assert set(CombatHistory.objects.values_list("settlement_status", flat=True)) == {
        "processed"
    }
    people = Character.objects.order_by("pk").values_list("gold", "xp", "hp")
    assert list(people) == [(105, 10, 90), (135, 15, 100), (75, 0, 100)]
    ratings = NamedBalance.objects.order_by("character_id")
    assert list(ratings.values_list("amount", flat=True)) == [1016, 1000, 968]
    bags = {
        (row.character_id, row.item_template_id): (row.quantity, row.properties)
        for row in InventoryItem.objects.all()
    }
    assert bags == {
        (ANNA, "hp_pot_small"): (1, None),
        (ANNA, "wolf_pelt"): (1, None),
        (BORIS, "sword_epic"): (1, {"sharp": 3}),
        (BORIS, "wolf_pelt"): (1, None),
        (VERA, "wolf_pelt"): (1, None),
        (VERA, "hp_pot_small"): (1, None),
    }
    assert LedgerLine.objects.filter(kind="settlement").count() == 5
    assert reconcile().findings == []
