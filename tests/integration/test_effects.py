"""After commit: tombstone, session, payload, entry. Repeated for every duplicate."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
import redis
from pytest_django import Settings

from combat_history.models import CombatHistory
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import checked
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from tests.support.documents import (
    HERO,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.factories import add_character
from tests.support.waiting import is_about

pytestmark = pytest.mark.usefixtures("world")

DAY = 24 * 60 * 60


def tombstone_key(document: Document) -> str:
    return redis_keys.tombstone(UUID(document["session_id"]))


def result_key(document: Document) -> str:
    return redis_keys.result(UUID(document["session_id"]))


def session_key(document: Document) -> str:
    return redis_keys.session(UUID(document["session_id"]))


def test_tombstone_is_the_brief_outcome_for_every_player(
    redis_client: redis.Redis,
) -> None:
    add_character(102, gold=50)
    document = sample_document()
    document["participants"]["102"] = {
        **make_participant(gold_gained=-5, is_winner=False),
        "team": "red",
    }
    document["participants"]["-7"] = {"secret": True}

    settle_combat(document)

    assert json.loads(redis_client.get(tombstone_key(document)) or b"") == {
        "revision": 1,
        "winner_team": "blue",
        "finish_reason": "victory",
        "end_timestamp": document["meta"]["end_timestamp"],
        "participants": {
            str(HERO): {
                "is_winner": True,
                "team": None,
                "xp": 1250,
                "gold": 100,
                "loot": [{"name": "Шкура волка", "qty": 1}],
            },
            "102": {
                "is_winner": False,
                "team": "red",
                "xp": 0,
                "gold": -5,
                "loot": [],
            },
        },
    }
    assert is_about(redis_client.ttl(tombstone_key(document)), DAY)


def test_live_session_is_deleted_and_payload_dropped(
    redis_client: redis.Redis,
) -> None:
    document = make_document()
    redis_client.hset(session_key(document), "status", "active")
    redis_client.zadd(redis_keys.ACTIVE, {document["session_id"]: 1})

    settle_combat(document)

    assert not redis_client.exists(session_key(document), redis_keys.ACTIVE)
    assert not redis_client.exists(redis_keys.INBOX)
    assert sorted(redis_client.hkeys(result_key(document))) == [
        b"accepted_at",
        b"sha256",
    ]
    assert is_about(redis_client.ttl(result_key(document)), DAY)


def test_finished_session_lives_five_minutes_until_it_is_settled(
    redis_client: redis.Redis,
) -> None:
    """A player may be waiting for the answer to a last blow."""
    document = make_document()
    redis_client.hset(session_key(document), "status", "active")

    inbox.record(checked(document))

    assert redis_client.hget(session_key(document), "status") == b"finished"
    assert is_about(redis_client.ttl(session_key(document)), 300)
    assert redis_client.ttl(result_key(document)) == -1, "kept until it is settled"


def test_payload_may_be_kept_longer(
    redis_client: redis.Redis, settings: Settings
) -> None:
    settings.SETTLEMENT_RAW_RETENTION_SECONDS = 2 * DAY
    document = make_document()

    settle_combat(json.dumps(document))

    assert json.loads(redis_client.hget(result_key(document), "raw") or b"") == document
    assert is_about(redis_client.ttl(result_key(document)), 2 * DAY)
    assert not redis_client.exists(redis_keys.INBOX)


def test_effects_are_repeated_for_a_duplicate(redis_client: redis.Redis) -> None:
    """The first time Redis lost them, or the worker died between commit and effects."""
    document = make_document()
    settle_combat(document)
    expected = redis_client.get(tombstone_key(document))
    redis_client.flushdb()
    redis_client.hset(session_key(document), "status", "finished")

    settle_combat(document)

    assert redis_client.get(tombstone_key(document)) == expected
    assert is_about(redis_client.ttl(tombstone_key(document)), DAY)
    assert not redis_client.exists(session_key(document), redis_keys.INBOX)
    assert CombatHistory.objects.count() == 1


def test_effects_of_an_entry_whose_row_is_terminal_need_no_payload(
    redis_client: redis.Redis,
) -> None:
    document = make_document()
    settle_combat(document)
    expected = redis_client.get(tombstone_key(document))
    redis_client.flushdb()
    inbox.put([UUID(document["session_id"])])

    settle_inbox()

    assert redis_client.get(tombstone_key(document)) == expected
    assert not redis_client.exists(redis_keys.INBOX)
    assert not redis_client.hexists(result_key(document), "raw")


def test_duplicate_while_the_first_waits_is_one_entry(
    redis_client: redis.Redis,
) -> None:
    document = make_document()

    receipts = [inbox.record(checked(document))[0].value for _ in range(3)]

    assert receipts == ["accepted", "duplicate", "duplicate"]
    assert redis_client.zcard(redis_keys.INBOX) == 1


@pytest.mark.parametrize("status", ["failed", "voided"])
def test_unprocessed_ends_have_no_tombstone(
    redis_client: redis.Redis, status: str
) -> None:
    document = make_document({"404": make_participant()})
    settle_combat(document)
    CombatHistory.objects.update(settlement_status=status)

    settle_combat(document)

    assert not redis_client.exists(tombstone_key(document), redis_keys.INBOX)
    assert CombatHistory.objects.get().settlement_status == status
