"""An evening of the demo's game, undone to its last coin."""

from __future__ import annotations

import logging
import random
import time

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from combat_history.models import CombatHistory, Status
from demo.schedule import Schedule
from demo.world import read_fighters
from tests.conftest import Settle
from tests.support.reconciling import found
from tests.support.undoing import permitted, undo, world_now

logger = logging.getLogger(__name__)

COMBATS = 60


@pytest.fixture
def admin(world: None) -> User:
    return permitted()


@pytest.mark.parametrize("seed", [1, 2, random.randrange(10**6)], ids=["1", "2", "any"])
def test_every_processed_fight_of_a_demo_undone_leaves_the_world_as_it_was(
    settle_here: Settle, admin: User, seed: int
) -> None:
    logger.info("seed=%d", seed)
    call_command("seed_world", verbosity=0)
    before = world_now()
    start = int(time.time()) - 2 * COMBATS
    fights = Schedule(
        random.Random(seed), read_fighters(), COMBATS, start=start, rate=1
    )
    settle_here(*(fight.body for fight in fights))
    assert world_now() != before

    # Each as it was settled, the last one first.
    settled = CombatHistory.objects.filter(settlement_status=Status.PROCESSED)
    session_ids = list(settled.order_by("-settled_at").values_list("pk", flat=True))
    assert len(session_ids) > COMBATS // 2
    for session_id in session_ids:
        undo(session_id, admin)

    assert world_now() == before
    assert found() == {}
