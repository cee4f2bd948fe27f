"""What players and their bots are told of a combat that was undone."""

from __future__ import annotations

import json
import logging

import pytest
import redis
from django.contrib.auth.models import User
from pytest_django import Settings

from combat_history.models import (
    CombatHistory,
)
from combat_history.reading.lookup import Credit
from persistence.contract import redis_keys
from persistence.contract.outcome import undone_tombstone
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.api import get, result_of, result_path
from tests.support.documents import HERO, sample_document
from tests.support.lookups import Find, id_of
from tests.support.redis_server import redis_away
from tests.support.undoing import (
    everything,
    permitted,
    undo,
)


@pytest.fixture
def admin(db: None) -> User:
    return permitted()


def test_a_delivery_after_it_applies_nothing(
    find: Find, settle_here: Settle, admin: User
) -> None:
    document = sample_document()
    settle_here(document)
    undo(id_of(document), admin)
    after = everything()

    settle_here(document)
    settle_here({**document, "note": "another"})

    assert everything() == after
    assert find(id_of(document), HERO).credit is Credit.REVERSED


def test_players_are_told_that_it_was_reversed(
    find: Find, settle_here: Settle, admin: User, redis_client: redis.Redis
) -> None:
    document = sample_document()
    settle_here(document)
    assert find(id_of(document), HERO).credit is Credit.CREDITED
    tombstone = redis_keys.tombstone(id_of(document))
    assert redis_client.exists(tombstone)

    undo(id_of(document), admin)

    for _ in range(2):
        assert find(id_of(document), HERO).credit is Credit.REVERSED
        assert redis_client.get(tombstone) == undone_tombstone(1)


def test_the_api_says_that_it_was_reversed(
    api: None, settle_here: Settle, admin: User
) -> None:
    document = sample_document()
    settle_here(document)
    undo(id_of(document), admin)

    response = get(result_path(id_of(document)))

    told = result_of(response)
    assert told.credit == "reversed"
    assert told.text.short.split("\n")[-1] == "The result of the fight was reversed"
    assert "immutable" in response["Cache-Control"]
    page = get(f"/api/characters/{HERO}/combats")
    assert [entry["credit"] for entry in json.loads(page.content)["items"]] == [
        "reversed"
    ]


def test_without_redis_it_stands_and_the_log_says_so(
    settle_here: Settle,
    admin: User,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    document = sample_document()
    settle_here(document)

    with redis_away(settings), caplog.at_level(logging.WARNING):
        done = undo(id_of(document), admin)

    assert (done.skipped, done.announced) == (None, False)
    assert "tombstone of an undone combat" in caplog.text
    assert CombatHistory.objects.get().compensated_at is not None
    # Asked again, it makes good for it.
    assert undo(id_of(document), admin).announced
    assert inbox.client().get(
        redis_keys.tombstone(id_of(document))
    ) == undone_tombstone(1)
