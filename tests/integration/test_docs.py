"""The engine's snippets, run as a reader would: beside the game's pins, no Django."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from combat_history.models import Character, CombatHistory, InventoryItem
from tests.packaging.environments import examples_alone, interpreter
from tests.support.docs import ROOT, snippets, text
from tests.support.documents import HERO, SWORD, make_document
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.mortal import mortal
from tests.support.waiting import wait_until
from tests.support.worker import environment

pytestmark = pytest.mark.usefixtures("world", "worker")


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """The engine's, with the wheel beside the game's pins."""
    return interpreter("engine")


def run(python: Path, code: str, *, folder: Path | None = None, **env: str) -> str:
    done = subprocess.run(
        mortal(str(python), "-W", "error::RuntimeWarning", "-c", code),
        cwd=folder or examples_alone(),
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_engines_snippet_fights_and_switches(
    engine_python: Path, redis_client: redis.Redis
) -> None:
    add_character(102)
    use = f"""


async def main():
    await fight({str(new_session_id())!r})
    await play(101)
    await dispatcher.aclose()


asyncio.run(main())
"""

    # The belts are waited for within a quarter of it, on a busy machine too.
    code = snippets("docs/engine.md")[0] + use
    told = run(engine_python, code, SETTLEMENT_SUBMIT_TIMEOUT_SECONDS="10")

    assert "hp_pot_small" in told
    wait_until(is_settled, "the fight is settled")
    wait_until(lambda: is_bare(SWORD), "the sword is unequipped")
    wait_until(lambda: not redis_client.exists("dispatch:intents"), "all is saved")
    assert Character.objects.get(pk=HERO).xp == 10


def test_a_bare_producer_needs_nothing_of_ours(
    engine_python: Path, tmp_path: Path, redis_client: redis.Redis
) -> None:
    document: Any = make_document()
    use = f"\nsend(json.loads({json.dumps(document)!r}))\n"
    code = f"import os; os.chdir({str(tmp_path)!r})\n"

    run(engine_python, code + snippets("docs/engine.md")[3] + use)

    wait_until(is_settled, "the fight is settled")


def test_the_quick_start_settles_one_fight_by_hand(redis_client: redis.Redis) -> None:
    (code,) = re.findall(r"<<'PYTHON'\n(.*?)\nPYTHON", text("docs/quickstart.md"), re.S)

    told = run(Path(sys.executable), code, folder=ROOT)

    assert told.split()[1] == "accepted"
    wait_until(is_settled, "the fight is settled")


def is_settled() -> bool:
    return CombatHistory.objects.filter(settlement_status="processed").exists()


def is_bare(inventory_id: int) -> bool:
    return not InventoryItem.objects.get(pk=inventory_id).is_equipped
