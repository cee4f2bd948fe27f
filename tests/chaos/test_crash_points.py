"""Kill -9 at every I/O operation of the pipeline, then again inside recovery."""

from __future__ import annotations

import logging
import os
import random

import pytest

from tests.chaos import scenes
from tests.chaos.scenes import MakeScene, play
from tests.support.crash import Crash, Run, When, every_crash
from tests.support.ledger_oracle import Oracle

logger = logging.getLogger(__name__)

DOUBLE_CRASHES = 3
"""Pairs tried for each scene; `--soak` tries every pair."""

# Dying after one operation and before the next differ only in what a sender was told,
# and in these scenes nobody is told anything.
SCENES: dict[MakeScene, list[When]] = {
    scenes.hand_off: [When.BEFORE, When.AFTER],
    scenes.message: [When.BEFORE, When.AFTER],
    scenes.waiting: [When.AFTER],
    scenes.lingering: [When.AFTER],
    scenes.batch: [When.AFTER],
    scenes.alone: [When.AFTER],
    scenes.late: [When.AFTER],
    scenes.swept: [When.AFTER],
}

ALIKE = (scenes.batch, scenes.alone, scenes.late, scenes.swept)
"""They lead through the same drain: half of its operations is tried in each, by lot;
all of them by `--soak`."""


@pytest.mark.parametrize("make", SCENES)
def test_accepted_is_applied_once_wherever_a_process_is_killed(
    oracle: Oracle, make: MakeScene, request: pytest.FixtureRequest
) -> None:
    is_thin = make in ALIKE and not request.config.getoption("--soak", default=False)
    left_out = random.randrange(2) if is_thin else None
    for at in every_crash(SCENES[make]):
        if at.operation % 2 == left_out:
            continue
        first, _, wrong = play(oracle, make, (at, None))
        assert not wrong, f"{at}:\n" + "\n".join(wrong)
        if not first.is_killed:
            break
    # A rewrite that crosses the border in one step would leave nothing to crash.
    assert at.operation > 3


@pytest.mark.parametrize("make", SCENES)
def test_accepted_is_applied_once_though_recovery_is_killed_too(
    oracle: Oracle, make: MakeScene, request: pytest.FixtureRequest
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    logger.info("CHAOS_SEED=%d", seed)
    chance = random.Random(seed)
    is_long = request.config.getoption("--soak", default=False)
    whole, *_ = play(oracle, make)
    firsts = _crashes(make, whole)
    for at in (
        firsts if is_long else chance.sample(firsts, min(DOUBLE_CRASHES, len(firsts)))
    ):
        # How much there is to recover depends on where the work was killed.
        _, recovery, _ = play(oracle, make, (at, None))
        seconds = _crashes(make, recovery)
        for again in seconds if is_long else [chance.choice(seconds)]:
            *_, wrong = play(oracle, make, (at, again))
            assert not wrong, f"{at}, then {again}:\n" + "\n".join(wrong)


def _crashes(make: MakeScene, run: Run) -> list[Crash]:
    return [
        Crash(number, when)
        for number in range(1, run.operations + 1)
        for when in SCENES[make]
    ]
