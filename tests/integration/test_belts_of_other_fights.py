"""A belt that a fight has reserved gives nothing to a fight that was never started."""

from __future__ import annotations

import pytest
import redis
from django.contrib.auth.models import User
from pytest_django import Settings

from combat_history.actions.replay import replay
from combat_history.models import InventoryItem, SettlementDiscrepancy
from persistence.belts.reservations import assemble
from persistence.tasks import settle_inbox
from tests.conftest import Settle
from tests.support.actions import REASON, status
from tests.support.belts import begin, holders, result_of
from tests.support.documents import HERO, POTION
from tests.support.ids import new_session_id
from tests.support.reconciling import reconcile

pytestmark = pytest.mark.usefixtures("world")


def left() -> int:
    return InventoryItem.objects.get(pk=POTION).quantity


def test_the_other_fight_falls_short_and_the_own_one_finds_its_belt(
    settle_here: Settle, redis_client: redis.Redis
) -> None:
    own, stray = new_session_id(), new_session_id()
    begin(redis_client, own, HERO)
    assemble(own, [HERO])

    settle_here(result_of(stray, used=3))

    assert left() == 5
    short = SettlementDiscrepancy.objects.get()
    assert (short.session_id, short.code) == (stray, "item_reserved")
    assert (short.inventory_id, short.wanted, short.applied) == (POTION, 3, 0)
    assert holders() == {POTION: own}
    settle_here(result_of(own, used=4))
    assert left() == 1
    assert not SettlementDiscrepancy.objects.filter(session_id=own).exists()
    assert reconcile()["findings"] == []


def test_where_shortages_fail_it_is_replayed_once_the_other_has_ended(
    settle_here: Settle, redis_client: redis.Redis, settings: Settings, admin: User
) -> None:
    settings.SETTLEMENT_SHORTAGES = "fail"
    own, stray = new_session_id(), new_session_id()
    begin(redis_client, own, HERO)
    assemble(own, [HERO])
    settle_here(result_of(stray, used=3))
    assert status(stray) == "failed"

    settle_here(result_of(own, used=2))
    replay([stray], actor=admin, reason=REASON)
    settle_inbox()

    assert status(stray) == "processed"
    assert InventoryItem.objects.filter(pk=POTION).count() == 0


def test_a_fight_that_is_over_holds_nothing_though_its_belt_was_not_released(
    settle_here: Settle,
) -> None:
    over = new_session_id()
    settle_here(result_of(over))
    InventoryItem.objects.filter(pk=POTION).update(reserved_session_id=over)

    settle_here(result_of(new_session_id(), used=2))

    assert left() == 3
