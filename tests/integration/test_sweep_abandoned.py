"""Forced saves of sessions that an engine left in a state of their own."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
import redis

from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    RejectedPayload,
)
from combat_history.reading.lookup import Credit, find_result
from persistence.contract import redis_keys
from persistence.dispatcher import SyncDispatcher
from tests.support.documents import HERO, POTION, make_document
from tests.support.ids import new_session_id
from tests.support.silence import (
    LONG_AGO_MS,
    USED,
    fall_silent,
    put_actor,
    reports,
    sweep_and_settle,
)

pytestmark = pytest.mark.usefixtures("world")


def test_a_combat_that_is_settled_and_was_begun_anew_is_not_ended_a_second_time(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    fall_silent(redis_client, session_id)
    sweep_and_settle()
    redis_client.flushdb()
    # As the engine's side does it with what it remembers of the last minute.
    engine.start_combat_sync(session_id, [HERO])
    fall_silent(redis_client, session_id, LONG_AGO_MS + 60_000)

    sweep_and_settle()

    assert reports() == []
    assert not redis_client.exists(redis_keys.session(session_id))
    assert not redis_client.zcard(redis_keys.ACTIVE)
    assert find_result(session_id, HERO).credit is Credit.CREDITED


@pytest.mark.parametrize(
    "container",
    ['{"hp": "x"}', "[1]", "{", '{"consumed": {}}', "[" * 9999, "\0"],
)
def test_a_container_that_is_not_readable_takes_nothing(
    engine: SyncDispatcher, redis_client: redis.Redis, container: str
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    redis_client.hset(redis_keys.session(session_id), "actor:101", container)
    fall_silent(redis_client, session_id)

    sweep_and_settle()

    row = CombatHistory.objects.get(pk=session_id)
    assert row.settlement_status == "processed"
    kept = row.result_payload["participants"]["101"]["container"]
    assert kept == container.replace("\0", "\\0")
    assert InventoryItem.objects.get(pk=POTION).quantity == 5
    assert reports() == [("invalid_payload", session_id)]


@pytest.mark.parametrize("key", ["101.0", "player:101", "0101", "goblin_1"])
def test_what_a_container_of_no_player_consumed_is_reported(
    engine: SyncDispatcher, redis_client: redis.Redis, key: str
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    containers: dict[Any, Any] = {
        f"actor:{key}": json.dumps({"consumed": [USED]}),
        "actor:wolf": json.dumps({"team": "red", "hp": 7, "consumed": []}),
    }
    redis_client.hset(redis_keys.session(session_id), mapping=containers)
    fall_silent(redis_client, session_id)

    sweep_and_settle()

    assert CombatHistory.objects.get(pk=session_id).settlement_status == "processed"
    report = RejectedPayload.objects.get()
    assert [error["path"] for error in report.errors] == [f"actor:{key}.consumed"]
    assert json.dumps(USED).encode() in bytes(report.raw or b"").replace(b"\\", b"")


def test_a_key_that_stands_twice_in_a_container_is_reported(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    container = f'{{"consumed": [{json.dumps(USED)}], "consumed": []}}'
    redis_client.hset(redis_keys.session(session_id), "actor:101", container)
    fall_silent(redis_client, session_id)

    sweep_and_settle()

    row = CombatHistory.objects.get(pk=session_id)
    assert row.result_payload["participants"]["101"]["container"] == container
    report = RejectedPayload.objects.get()
    assert [error["path"] for error in report.errors] == ["actor:101.consumed"]


@pytest.mark.parametrize(
    ("odd", "fault"),
    [
        ({"hp": -5}, "actor:101.hp"),
        ({"hp": 7.5}, "actor:101.hp"),
        ({"energy": None, "belt_items": None}, "actor:101.belt_items"),
        ({"consumed": [USED, {"inventory_id": 0, "qty": 1}]}, "actor:101.consumed.1"),
        ({"consumed": [USED, "x"]}, "actor:101.consumed.1"),
        (
            {"consumed": [{**USED, "item_template_id": "\0"}, USED]},
            "actor:101.consumed",
        ),
        ({"hp": -5, "log": "\0"}, "actor:101.hp"),
        ({"team": "\ud800"}, "actor:101"),
    ],
)
def test_what_can_be_read_of_a_container_is_consumed_and_the_rest_reported(
    engine: SyncDispatcher,
    redis_client: redis.Redis,
    odd: dict[str, Any],
    fault: str,
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    put_actor(redis_client, session_id, **{"consumed": [USED], **odd})
    fall_silent(redis_client, session_id)

    sweep_and_settle()

    assert CombatHistory.objects.get(pk=session_id).settlement_status == "processed"
    assert InventoryItem.objects.get(pk=POTION).quantity == 3
    assert Character.objects.get(pk=HERO).hp == 500
    report = RejectedPayload.objects.get()
    assert (report.code, report.session_id) == ("invalid_payload", session_id)
    assert report.errors[0]["path"].startswith(fault)


def test_the_result_of_a_silent_combat_counts_and_not_its_forced_save(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    """Its engine died between the result and the word that it is finished."""
    document = make_document()
    session_id = UUID(document["session_id"])
    engine.start_combat_sync(session_id, [HERO])
    redis_client.hset(redis_keys.session(session_id), "result", json.dumps(document))
    fall_silent(redis_client, session_id)

    sweep_and_settle()

    assert CombatHistory.objects.get(pk=session_id).document() == document
    assert Character.objects.get(pk=HERO).gold == 5
    assert redis_client.hget("ac:101", "combat_session_id") is None
    assert redis_client.zscore(redis_keys.ACTIVE, str(session_id)) is None
    assert reports() == []


def test_an_unusable_result_of_a_silent_combat_is_kept_beside_its_forced_save(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    put_actor(redis_client, session_id, consumed=[USED])
    redis_client.hset(redis_keys.session(session_id), "result", '{"meta":')
    fall_silent(redis_client, session_id)

    sweep_and_settle()

    meta = CombatHistory.objects.get(pk=session_id).result_payload["meta"]
    assert meta["finish_reason"] == "abandoned"
    assert InventoryItem.objects.get(pk=POTION).quantity == 3
    assert [id_ for _, id_ in reports()] == [session_id]


def test_ids_that_no_player_can_have_are_left_out_of_a_forced_save(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    listed = json.dumps([HERO, 2**63, 0, "-7"])
    redis_client.hset(redis_keys.session(session_id), "participants", listed)
    fall_silent(redis_client, session_id)

    sweep_and_settle()

    assert CombatHistory.objects.get(pk=session_id).participant_ids == [HERO]
