"""What one claim takes: crowds one at a time, and nothing small waits behind them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import redis
from django.contrib.auth.models import User

from combat_history.actions.replay import replay
from combat_history.models import CombatHistory
from persistence.contract import redis_keys
from persistence.engine.handoff import checked
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from tests.support.actions import REASON
from tests.support.documents import make_document, make_participant

pytestmark = pytest.mark.usefixtures("world")


def submit(count: int) -> list[UUID]:
    handoffs = [checked(make_document()) for _ in range(count)]
    for handoff in handoffs:
        inbox.record(handoff)
    return [handoff.session_id for handoff in handoffs]


def submit_crowd(players: int = 150) -> UUID:
    crowd = {str(n): make_participant() for n in range(1000, 1000 + players)}
    handoff = checked(make_document(crowd))
    inbox.record(handoff)
    return handoff.session_id


def claimed(limit: int = 100) -> tuple[set[UUID], bool]:
    entries, more = inbox.claim(limit)
    return {entry.session_id for entry in entries}, more


def test_a_claim_takes_one_crowd_and_the_small_fights_behind_all_crowds() -> None:
    crowds = [submit_crowd() for _ in range(3)]
    small = set(submit(5))

    assert claimed() == ({crowds[0], *small}, True)
    assert claimed() == ({crowds[1]}, True)
    assert claimed() == ({crowds[2]}, False)


def test_small_fights_are_found_behind_more_crowds_than_a_claim_takes() -> None:
    crowds = {submit_crowd(101) for _ in range(12)}
    small = set(submit(4))

    found, more = claimed(limit=5)

    assert more
    assert small < found
    assert len(found & crowds) == 1


def test_a_claim_is_bounded_by_players() -> None:
    fights = {submit_crowd(100) for _ in range(25)}

    first, more = claimed()
    second, none = claimed()

    assert (len(first), more, len(second), none) == (20, True, 5, False)
    assert first | second == fights


def test_of_an_older_hand_off_the_players_are_estimated_by_bytes(
    redis_client: redis.Redis,
) -> None:
    crowds = [submit_crowd(500) for _ in range(2)]
    for crowd in crowds:
        redis_client.hdel(redis_keys.result(crowd), "players")
        document: Any = redis_client.hget(redis_keys.result(crowd), "raw")
        padded = document + b" " * 200_000
        redis_client.hset(redis_keys.result(crowd), "raw", padded)

    assert claimed() == ({crowds[0]}, True)


def test_what_was_delivered_before_keeps_no_first_delivery_waiting() -> None:
    for session_id in submit(12):
        inbox.client().hset(redis_keys.result(session_id), "claims", 1)
    fresh = set(submit(3))

    found, _ = claimed(limit=5)

    assert fresh < found
    assert len(found - fresh) == 1, "one of the others, to be settled alone"


def test_crowds_that_are_replayed_are_taken_one_by_one(
    redis_client: redis.Redis, admin: User
) -> None:
    crowds = [submit_crowd() for _ in range(2)]
    for _ in crowds:
        settle_inbox()
    failed = CombatHistory.objects.filter(settlement_status="failed")
    assert failed.count() == 2, "nobody knows these players"
    redis_client.flushdb()

    replay(crowds, actor=admin, reason=REASON)

    assert len(claimed()[0]) == 1
