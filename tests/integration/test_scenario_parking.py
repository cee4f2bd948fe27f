"""Scenario sessions that cannot be saved: parked, kept in Redis, and mended."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from combat_history.models import ParkedOperation, ScenarioSession
from persistence.contract import redis_keys
from tests.support import factories
from tests.support.documents import HERO
from tests.support.scenarios import (
    ACCOUNT,
    counts,
    name_closing,
    name_open,
    new_id,
    parked,
    row,
    save,
    write,
)

pytestmark = pytest.mark.usefixtures("world")

OTHER = 102
STRANGER = 909


def test_session_of_another_character_is_parked(redis_client: redis.Redis) -> None:
    factories.add_character(OTHER)
    sid, own = new_id(), new_id()
    write(redis_client, sid, 5)
    name_open(redis_client, sid, OTHER)
    save(OTHER)
    name_closing(redis_client, sid, own)
    write(redis_client, sid, 6)
    write(redis_client, own, 1)

    assert save().counts == counts(saved=1, parked=1)

    assert (row(sid).character_id, row(sid).version) == (OTHER, 5)
    assert row(own).character_id == HERO
    assert (parked(sid).code, parked(sid).character_id) == ("not_allowed", HERO)
    assert parked(sid).operation == {"version": "6", "node": "step 6"}
    assert redis_client.exists(redis_keys.scenario(sid))


BAD: dict[str, dict[Any, Any]] = {
    "no version": {},
    "no number": {"version": "two"},
    "negative": {"version": -1},
    "fraction": {"version": "1.0"},
    "signed": {"version": "+1"},
    "other digits": {"version": "٣"},
    "beyond bigint": {"version": 2**63},
    "endless": {"version": "9" * 5000},
    "NUL": {"version": 1, "note": "a\0b"},
    "NUL in a name": {"version": 1, "a\0b": "x"},
    "not UTF-8": {"version": 1, "note": b"\xff\xfe"},
    "name not UTF-8": {"version": 1, b"\xff": "x"},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_unfit_hash_is_parked_and_kept_until_it_is_mended(
    redis_client: redis.Redis, bad: dict[Any, Any]
) -> None:
    sid, good = new_id(), new_id()
    name_closing(redis_client, sid, good)
    key = redis_keys.scenario(sid)
    redis_client.hset(key, mapping={"node": "x", **bad})
    write(redis_client, good)

    assert save().counts == counts(saved=1, parked=1)

    assert parked(sid).code == "invalid_operation"
    assert redis_client.exists(key)
    assert not ScenarioSession.objects.filter(pk=sid).exists()
    assert row(good).closed_at is not None

    redis_client.delete(key)
    write(redis_client, sid, 2)
    save()

    assert row(sid).version == 2
    assert parked(sid).resolution == "applied"


def test_largest_version_is_stored(redis_client: redis.Redis) -> None:
    sid = new_id()
    name_open(redis_client, sid)
    write(redis_client, sid, 2**63 - 1)

    save()

    assert row(sid).version == 2**63 - 1


@pytest.mark.parametrize("sid", ["42", "A" * 300, "a\0b", "{}", "0" * 32])
def test_id_that_is_no_uuid_is_parked(redis_client: redis.Redis, sid: str) -> None:
    own = new_id()
    name_closing(redis_client, sid, own)
    write(redis_client, own)
    write(redis_client, sid)

    assert save().counts == counts(saved=1, parked=1)

    assert ParkedOperation.objects.get().code == "invalid_operation"
    assert redis_client.exists(redis_keys.scenario(sid))


def test_foreign_key_type_is_parked(redis_client: redis.Redis) -> None:
    sid = new_id()
    name_open(redis_client, sid)
    redis_client.rpush(redis_keys.scenario(sid), "x")

    assert save().counts == counts(parked=1)

    assert parked(sid).code == "invalid_operation"


def test_foreign_account_has_no_sessions(redis_client: redis.Redis) -> None:
    redis_client.set(ACCOUNT, "x")

    assert save().counts == {}


def park_for_unknown_character(client: redis.Redis) -> str:
    sid = new_id()
    name_open(client, sid, STRANGER)
    write(client, sid, 4)
    assert save(STRANGER).counts == counts(parked=1)
    assert parked(sid).code == "unknown_character"
    return sid


def test_unknown_character_is_parked_until_it_is_there(
    redis_client: redis.Redis,
) -> None:
    sid = park_for_unknown_character(redis_client)
    factories.add_character(STRANGER)

    save(STRANGER)

    assert (row(sid).version, row(sid).closed_at) == (4, None)
    assert parked(sid).resolution == "applied"


def ask_for(session_id: str) -> None:
    """As the admin's replay does."""
    ParkedOperation.objects.filter(op_id=session_id).update(
        retry_requested_at="2026-01-01T00:00Z"
    )


def test_parked_copy_is_saved_where_redis_lost_the_hash(
    redis_client: redis.Redis,
) -> None:
    sid = park_for_unknown_character(redis_client)
    factories.add_character(STRANGER)
    redis_client.flushdb()
    assert save(STRANGER).counts == {}
    ask_for(sid)

    assert save(STRANGER).counts == counts(saved=1)

    assert (row(sid).version, row(sid).progress) == (4, {"node": "step 4"})
    assert row(sid).closed_at is not None
    assert parked(sid).resolution == "applied"


def test_session_that_was_asked_for_leaves_redis_once_it_is_saved(
    redis_client: redis.Redis,
) -> None:
    sid = park_for_unknown_character(redis_client)
    factories.add_character(STRANGER)
    redis_client.delete(redis_keys.account(STRANGER))
    write(redis_client, sid, 5)
    ask_for(sid)

    save(STRANGER)

    assert row(sid).version == 5
    assert not redis_client.exists(redis_keys.scenario(sid))


def test_unfit_copy_that_was_asked_for_is_parked_again_as_it_was(
    redis_client: redis.Redis,
) -> None:
    sid = new_id()
    name_closing(redis_client, sid)
    write(redis_client, sid, note=b"\xff")
    save()
    before = parked(sid).operation
    redis_client.flushdb()
    ask_for(sid)

    assert save().counts == counts(parked=1)

    after = parked(sid)
    assert (after.operation, after.retry_requested_at) == (before, None)
    assert after.times_seen == 2
