"""Belts whose fight is gone: the sweep releases them, and no other."""

from __future__ import annotations

from uuid import UUID

import pytest
import redis

from combat_history.models import CombatHistory
from persistence.belts import reservations
from persistence.belts.orphans import GRACE_MS, release_orphaned
from persistence.contract import redis_keys
from persistence.tasks import settle_combat
from persistence.worker import inbox
from tests.support.belts import add_fighter, begin, fail, holders, result_of
from tests.support.documents import HERO, POTION
from tests.support.ids import new_session_id
from tests.support.parallel import character_locked, in_threads, wait_until_blocked
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world")


def past_the_grace(client: redis.Redis) -> None:
    """What a minute does."""
    for member, _ in client.zscan_iter(redis_keys.BELTS_ORPHANED):
        client.zincrby(redis_keys.BELTS_ORPHANED, -GRACE_MS, member)


def test_sweep_releases_the_belt_of_a_fight_that_redis_lost(
    redis_client: redis.Redis, fight: UUID
) -> None:
    begin(redis_client, fight, HERO)
    reservations.assemble(fight, [HERO])
    assert release_orphaned() == 0
    redis_client.flushdb()

    assert release_orphaned() == 0, "a grace passes first"
    assert holders() == {POTION: fight}

    past_the_grace(redis_client)
    assert release_orphaned() == 1
    assert holders() == {}
    assert not redis_client.exists(redis_keys.BELTS_ORPHANED)


def test_grace_begins_anew_once_the_fight_was_known_again(
    redis_client: redis.Redis, fight: UUID
) -> None:
    reservations.assemble(fight, [HERO])
    release_orphaned()
    past_the_grace(redis_client)
    key = begin(redis_client, fight, HERO)
    assert release_orphaned() == 0

    redis_client.delete(key)

    assert release_orphaned() == 0
    assert holders() == {POTION: fight}


@pytest.mark.parametrize("left", ["cs:", "inbox", "result", "pending row"])
def test_sweep_keeps_the_belt_of_a_fight_of_which_anything_is_left(
    redis_client: redis.Redis, fight: UUID, left: str
) -> None:
    reservations.assemble(fight, [HERO])
    if left == "cs:":
        begin(redis_client, fight, HERO)
    elif left == "inbox":
        inbox.put([fight])
    elif left == "result":
        redis_client.hset(redis_keys.result(fight), "sha256", "x")
    else:
        CombatHistory.objects.create(
            session_id=fight, participant_ids=[HERO], result_payload={}
        )

    for _ in range(3):
        assert release_orphaned() == 0
        past_the_grace(redis_client)

    assert holders() == {POTION: fight}


def test_sweep_releases_at_once_what_a_settled_fight_left(
    redis_client: redis.Redis, fight: UUID
) -> None:
    """A fighter whom the result does not name: the settlement has not locked him."""
    (forgotten,) = add_fighter(102)
    begin(redis_client, fight, HERO, 102)
    reservations.assemble(fight, [HERO, 102])
    settle_combat(result_of(fight))
    assert holders() == {forgotten: fight}

    assert release_orphaned() == 1

    assert holders() == {}


def test_sweep_releases_the_belt_of_a_failed_fight_with_its_last_trace(
    redis_client: redis.Redis, fight: UUID
) -> None:
    begin(redis_client, fight, HERO)
    reservations.assemble(fight, [HERO])
    fail(fight)
    redis_client.delete(redis_keys.result(fight))  # a day later

    release_orphaned()
    past_the_grace(redis_client)

    assert release_orphaned() == 1
    assert holders() == {}


def test_fight_that_begins_while_the_sweep_waits_keeps_its_belt(
    redis_client: redis.Redis, fight: UUID
) -> None:
    reservations.assemble(fight, [HERO])
    release_orphaned()
    past_the_grace(redis_client)
    locked: list[bool] = []
    released: list[int] = []

    def begin_once_it_waits() -> None:
        with character_locked(HERO):
            locked.append(True)
            wait_until_blocked(1)
            begin(redis_client, fight, HERO)

    def sweep() -> None:
        wait_until(lambda: locked, "the character is locked")
        released.append(release_orphaned())

    in_threads(begin_once_it_waits, sweep)

    assert released == [0]
    assert holders() == {POTION: fight}


def test_sweep_looks_at_every_page(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.belts.orphans.PAGE", 2)
    fights = [new_session_id() for _ in range(5)]
    for number, fight in enumerate(fights):
        add_fighter(200 + number)
        reservations.assemble(fight, [200 + number])
    begin(redis_client, fights[1], 201)

    release_orphaned()
    past_the_grace(redis_client)

    assert release_orphaned() == 4
    assert set(holders().values()) == {fights[1]}
