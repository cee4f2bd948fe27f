"""A drain that finds nothing more waits, and a hand-off wakes it without a message."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import Settings

from combat_history.actions import mode as control
from combat_history.models import CombatHistory, Status
from persistence.contract import redis_keys
from persistence.engine.handoff import checked
from persistence.tasks import settle_inbox
from persistence.worker import inbox, lingering, occupancy
from persistence.worker import mode as settlement
from persistence.worker.mode import Mode
from tests.support.documents import make_document
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world")

LONG_SECONDS = 100
"""A drain that does not end before fails its test."""


@pytest.fixture(autouse=True)
def _in_a_pool(settings: Settings) -> Iterator[None]:
    """As in a worker with two processes, one of which is free."""
    settings.SETTLEMENT_LINGER = True
    settings.SETTLEMENT_DRAIN_SECONDS = LONG_SECONDS
    occupancy.open_pool()
    occupancy.tell(1, 2)
    settlement.forget()
    yield
    occupancy.open_pool()
    occupancy.tell(0, 0)
    settlement.forget()


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(django_settings.BROKER_URL) as client:
        yield client


def hand_off() -> tuple[str, bool]:
    """The session, and whether its engine is to ring."""
    handoff = checked(make_document())
    _, ring = inbox.record(handoff)
    return str(handoff.session_id), ring


def is_settled(session_id: str) -> bool:
    rows = CombatHistory.objects.filter(pk=session_id)
    return rows.filter(settlement_status=Status.PROCESSED).exists()


def place() -> object:
    return inbox.client().get(redis_keys.LINGERER)


def someone_waits() -> bool:
    return place() is not None


@contextmanager
def a_drain(end: Callable[[], None] = occupancy.close_pool) -> Iterator[None]:
    """One waits while the block runs, is told to end then, and ends."""

    def drain() -> None:
        try:
            settle_inbox()
        finally:
            connection.close()

    before = place()
    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(drain)
        try:
            wait_until(lambda: place() not in (None, before), "it waits")
            yield
            end()
            drained.result(LONG_SECONDS / 2)
        finally:
            occupancy.close_pool()


def test_a_hand_off_wakes_the_drain_that_waits_without_a_message(
    broker: redis.Redis,
) -> None:
    with a_drain():
        for _ in range(3):
            session_id, ring = hand_off()
            assert not ring
            wait_until(partial(is_settled, session_id), "it is settled")
        assert not broker.llen("celery")

    assert not someone_waits()
    assert hand_off()[1], "nobody waits, so it is to ring"


def test_nobody_waits_where_the_setting_is_off(settings: Settings) -> None:
    settings.SETTLEMENT_LINGER = False

    settle_inbox()

    assert hand_off()[1]


def test_nobody_waits_outside_of_a_pool() -> None:
    occupancy.tell(0, 0)

    settle_inbox()

    assert hand_off()[1]


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.DRAINING])
def test_nobody_waits_while_settlement_is_stopped(mode: Mode) -> None:
    actor = control.Actor("lingering")
    control.set_mode(mode, actor=actor, reason="a new disk")

    settle_inbox()

    assert not someone_waits()


def test_a_pause_ends_the_waiting_with_the_next_hand_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settlement, "CACHE_SECONDS", 0)
    with a_drain(end=lambda: None):
        control.set_mode(
            Mode.PAUSED, actor=control.Actor("lingering"), reason="a new disk"
        )
        session_id, _ = hand_off()

    assert not is_settled(session_id)


def test_a_younger_drain_takes_the_place_of_the_one_that_waits() -> None:
    def younger() -> None:
        inbox.client().set(redis_keys.LINGERER, "younger", px=60_000)

    with a_drain(end=younger):
        pass

    assert place() == b"younger"


def test_waiting_ends_where_a_job_waits_in_the_worker() -> None:
    with a_drain(end=lambda: occupancy.tell(3, 2)):
        pass

    assert not someone_waits()


def test_waiting_ends_where_every_process_is_taken_and_a_message_waits(
    broker: redis.Redis,
) -> None:
    def send() -> None:
        assert someone_waits()
        broker.lpush("saves", b"any")

    occupancy.tell(1, 1)
    with a_drain(end=send):
        pass

    assert not someone_waits()


def test_a_free_process_takes_the_message_that_waits(broker: redis.Redis) -> None:
    broker.lpush("saves", b"any")
    with a_drain():
        assert not hand_off()[1]


def test_a_wake_up_that_comes_while_a_drain_leaves_is_a_ring(
    broker: redis.Redis,
) -> None:
    inbox.client().set(redis_keys.LINGERER, "ours")
    hand_off()

    lingering.leave("another's")
    assert someone_waits()
    assert not broker.llen("celery")

    lingering.leave("ours")
    assert not someone_waits()
    assert broker.llen("celery") == 1


def test_a_wake_up_that_nobody_hears_silences_the_ring_for_a_moment_only() -> None:
    """Whoever waited has died since: beat settles the first."""
    inbox.client().set(redis_keys.LINGERER, "dead", px=redis_keys.LINGERER_TTL_MS)
    assert not hand_off()[1]
    inbox.client().lset(redis_keys.WAKE, 0, str(int(time.time() * 1000) - 250))
    inbox.client().set(redis_keys.LINGERER, "dead", px=redis_keys.LINGERER_TTL_MS)
    assert hand_off()[1]

    occupancy.close_pool()
    settle_inbox()

    assert CombatHistory.objects.filter(settlement_status="processed").count() == 2


def test_what_is_no_drain_wakes_nobody_and_refuses_nothing() -> None:
    inbox.client().hset(redis_keys.LINGERER, "what", "ever")
    inbox.client().set(redis_keys.WAKE, "foreign")

    assert hand_off()[1]
    settle_inbox_once()
    inbox.client().delete(redis_keys.WAKE, redis_keys.DOORBELL)
    inbox.client().lpush(redis_keys.WAKE, "no moment")
    inbox.client().set(redis_keys.LINGERER, "ours")
    assert hand_off()[1]


def settle_inbox_once() -> None:
    occupancy.close_pool()
    settle_inbox()
    occupancy.open_pool()


def test_emptied_redis_ends_the_waiting() -> None:
    def empty() -> None:
        inbox.client().flushdb()

    with a_drain(end=empty):
        pass

    assert not someone_waits()
