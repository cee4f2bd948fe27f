"""Kill -9 at every I/O operation of the pipeline, then again inside recovery."""

from __future__ import annotations

import logging
import os
import random

import pytest

from tests.chaos import scenes
from tests.chaos.scenes import MakeScene, play
from tests.support.crash import Crash, When, every_crash
from tests.support.ledger_oracle import Oracle

logger = logging.getLogger(__name__)

DOUBLE_CRASHES = 30
"""Pairs tried for each scene; `--soak` tries every pair."""

SCENES = [
    scenes.hand_off,
    scenes.messages,
    scenes.batch,
    scenes.alone,
    scenes.swept,
]


@pytest.mark.parametrize("make", SCENES)
def test_accepted_is_applied_once_wherever_a_process_is_killed(
    oracle: Oracle, make: MakeScene
) -> None:
    operations = 0
    for at in every_crash():
        first, _, wrong = play(oracle, make, (at, None))
        assert not wrong, f"{at}:\n" + "\n".join(wrong)
        if not first.is_killed:
            operations = first.operations
            break
    assert at == Crash(operations + 1, When.BEFORE)


@pytest.mark.parametrize("make", SCENES)
def test_accepted_is_applied_once_though_recovery_is_killed_too(
    oracle: Oracle, make: MakeScene, request: pytest.FixtureRequest
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    logger.info("CHAOS_SEED=%d", seed)
    chance = random.Random(seed)
    first, recovery, _ = play(oracle, make)
    pairs = [
        (Crash(work, when), Crash(again, then))
        for work in range(1, first.operations + 1)
        for when in When
        for again in range(1, recovery.operations + 1)
        for then in When
    ]
    for pair in chance.sample(pairs, min(DOUBLE_CRASHES, len(pairs))):
        *_, wrong = play(oracle, make, pair)
        assert not wrong, f"{pair[0]}, then {pair[1]}:\n" + "\n".join(wrong)
