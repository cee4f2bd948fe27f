"""The engine's side, installed from the wheel beside other programs' pins."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import redis
from packaging.requirements import Requirement

from combat_history.models import Character, CombatHistory
from tests.packaging.environments import GAME, interpreter
from tests.support.documents import HERO, SAMPLE_END, make_document
from tests.support.waiting import wait_until
from tests.support.worker import environment

PROGRAM = Path(__file__).with_name("engine.py")


def versions(python: Path) -> dict[str, str]:
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    return {d.name.lower(): d.version for d in distributions(path=[str(packages)])}


def test_the_engines_environment_is_the_games() -> None:
    installed = versions(interpreter("engine"))

    for pin in map(Requirement, GAME):
        assert installed[pin.name] in pin.specifier
    assert "django" not in installed


@pytest.mark.parametrize("name", ["engine", "engine-oldest"])
@pytest.mark.usefixtures("world", "worker")
def test_every_call_of_the_engine(
    name: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    fights = [make_document(end_timestamp=SAMPLE_END + n) for n in range(3)]

    told = run(interpreter(name), fights, tmp_path)

    calls = [
        [True, "blue"],
        True,
        "accepted",
        [True, []],
        None,
        None,
        [True, ["inventory"]],
    ]
    assert told == {
        "django": False,
        "refused": ["handoff_failed", "dispatch_failed"] * 2,
        "sync": calls,
        "async": calls,
        "forgotten": [0, 1],
    }
    wait_until(lambda: settled() == 3, "the fights are settled")
    assert Character.objects.get(pk=HERO).xp == 30


def run(python: Path, fights: list[Any], folder: Path) -> Any:
    done = subprocess.run(
        # -I: neither the folder of the program nor the current one is on its path.
        [python, "-I", "-W", "error::RuntimeWarning", str(PROGRAM)],
        cwd=folder,
        env=environment(),
        input=json.dumps(fights),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def settled() -> int:
    return CombatHistory.objects.filter(settlement_status="processed").count()
