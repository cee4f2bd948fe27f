"""The doorbell: who asks for a drain, and that no hand-off waits for beat."""

from __future__ import annotations

import json

import pytest
import redis
from django.conf import settings as django_settings
from pytest_django import Settings

from combat_history.models import (
    CombatHistory,
)
from persistence.engine.handoff import checked
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from tests.support.documents import make_document

pytestmark = pytest.mark.usefixtures("world")


def hand_over(count: int) -> None:
    for _ in range(count):
        inbox.record(checked(make_document()))


def test_doorbell_is_pressed_once_until_it_is_answered() -> None:
    def rings() -> bool:
        return inbox.record(checked(make_document()))[1]

    assert [rings(), rings(), rings()] == [True, False, False]
    settle_inbox()
    assert [rings(), rings()] == [True, False]


def test_bare_task_leaves_no_doorbell_that_nobody_answers() -> None:
    """Or the next hand-off would not ring, and wait for beat."""
    settle_combat(make_document())

    _, ring = inbox.record(checked(make_document()))

    assert ring


def test_full_batch_rings_for_help_before_it_works(
    settings: Settings, redis_client: redis.Redis
) -> None:
    settings.SETTLEMENT_BATCH_SIZE = 2
    hand_over(2)
    with redis.Redis.from_url(django_settings.BROKER_URL) as broker:
        settle_inbox()
        assert broker.llen("celery") == 1
        (message,) = broker.lrange("celery", 0, -1)
        assert json.loads(message)["headers"]["task"] == "settle_inbox"

        broker.flushdb()
        hand_over(1)
        settle_inbox()
        assert broker.llen("celery") == 0


def test_drain_that_used_its_time_rings_and_leaves_the_rest(
    settings: Settings, redis_client: redis.Redis
) -> None:
    settings.SETTLEMENT_BATCH_SIZE = 2
    settings.SETTLEMENT_DRAIN_SECONDS = 0
    hand_over(5)

    settle_inbox()

    assert CombatHistory.objects.count() == 2
    with redis.Redis.from_url(django_settings.BROKER_URL) as broker:
        assert broker.llen("celery") == 1
