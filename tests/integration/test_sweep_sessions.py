"""Combats that nobody ends: forced saves, and results that never came."""

from __future__ import annotations

import json
import random
import time
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
from persistence.contract import redis_keys
from persistence.contract.errors import CombatFinished, PayloadConflict, PayloadInvalid
from persistence.dispatcher import SyncDispatcher
from persistence.sweeping.sessions import force_abandoned
from persistence.tasks import settle_combat, settle_inbox, sweep
from tests.support.documents import HERO, POTION, make_document, make_participant
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.parallel import in_threads
from tests.support.silence import (
    LONG_AGO_MS,
    USED,
    fall_silent,
    put_actor,
    reports,
    sweep_and_settle,
)

pytestmark = pytest.mark.usefixtures("world")


def redis_seconds(client: redis.Redis) -> int:
    moment: Any = client.time()
    return int(moment[0])


def test_a_silent_combat_is_saved_without_rewards(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    put_actor(redis_client, session_id, consumed=[USED])
    fall_silent(redis_client, session_id)
    before = Character.objects.get(pk=HERO)

    sweep_and_settle()

    row = CombatHistory.objects.get(pk=session_id)
    assert row.settlement_status == "processed"
    assert row.result_payload["meta"] == {
        "end_timestamp": LONG_AGO_MS // 1000,
        "winner_team": None,
        "finish_reason": "abandoned",
        "forced": True,
    }
    assert InventoryItem.objects.get(pk=POTION).quantity == 3
    after = Character.objects.get(pk=HERO)
    assert (after.xp, after.gold) == (before.xp, before.gold)
    assert (after.hp, after.energy) == (7, 3)
    assert redis_client.hget("ac:101", "combat_session_id") is None
    assert redis_client.zscore(redis_keys.ACTIVE, str(session_id)) is None
    assert not redis_client.exists(redis_keys.session(session_id))


def test_a_combat_that_is_heard_of_is_left_to_its_engine(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    fall_silent(redis_client, session_id)
    assert engine.heartbeat_sync(session_id)

    sweep_and_settle()

    assert not CombatHistory.objects.exists()
    assert redis_client.hget(redis_keys.session(session_id), "status") == b"active"


@pytest.mark.parametrize("ahead", [660, -660])
def test_the_clock_of_a_worker_neither_ends_nor_spares_a_combat(
    engine: SyncDispatcher,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    ahead: int,
) -> None:
    running, finished, silent = (new_session_id() for _ in range(3))
    for char_id, session_id in ((HERO, running), (102, finished), (103, silent)):
        engine.start_combat_sync(session_id, [char_id])
    redis_client.hset(redis_keys.session(finished), "status", "finished")
    fall_silent(redis_client, silent, redis_seconds(redis_client) * 1000 - 601_000)
    redis_client.hset("ac:104", "combat_session_id", str(new_session_id()))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead)

    sweep()

    assert redis_client.zrange(redis_keys.INBOX, 0, -1) == [str(silent).encode()]
    assert reports() == []
    orphan: Any = redis_client.zrange(redis_keys.ORPHANS, 0, -1, withscores=True)
    assert abs(orphan[0][1] - redis_seconds(redis_client)) < 60


@pytest.mark.parametrize("per_ms", [0.001, 1, 1000])
def test_a_heartbeat_in_the_session_alone_counts_in_any_unit(
    engine: SyncDispatcher, redis_client: redis.Redis, per_ms: float
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    beat = round(redis_seconds(redis_client) * 1000 * per_ms)
    redis_client.hset(redis_keys.session(session_id), "heartbeat", beat)
    redis_client.zadd(redis_keys.ACTIVE, {str(session_id): LONG_AGO_MS})

    sweep_and_settle()

    assert not CombatHistory.objects.exists()
    score: Any = redis_client.zscore(redis_keys.ACTIVE, str(session_id))
    assert score > LONG_AGO_MS


def test_a_heartbeat_of_the_future_keeps_no_combat_alive(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    fall_silent(redis_client, session_id)
    tomorrow = round(redis_seconds(redis_client) + 86_400) * 1000
    redis_client.hset(redis_keys.session(session_id), "heartbeat", tomorrow)

    sweep_and_settle()

    assert CombatHistory.objects.get(pk=session_id).settlement_status == "processed"


def test_the_real_result_of_an_abandoned_combat_is_a_conflict(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    document = make_document()
    session_id = UUID(document["session_id"])
    engine.start_combat_sync(session_id, [HERO])
    fall_silent(redis_client, session_id)
    sweep_and_settle()

    with pytest.raises(PayloadConflict):
        engine.submit_combat_sync(document)
    settle_inbox()

    assert reports() == [("payload_conflict", session_id)]
    meta = CombatHistory.objects.get(pk=session_id).result_payload["meta"]
    assert meta["finish_reason"] == "abandoned"


def test_a_result_that_is_known_is_never_replaced_by_a_forced_one(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    document = make_document()
    session_id = UUID(document["session_id"])
    engine.start_combat_sync(session_id, [HERO])
    engine.submit_combat_sync(document)
    # A second engine process that does not know: it starts beating again.
    redis_client.hset(redis_keys.session(session_id), "status", "active")
    fall_silent(redis_client, session_id)

    sweep_and_settle()

    row = CombatHistory.objects.get(pk=session_id)
    assert row.result_payload["meta"]["finish_reason"] == "victory"
    assert reports() == []


def test_of_a_forced_and_a_late_result_exactly_one_counts(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    fights = 200
    chars = list(range(1000, 1000 + fights))
    documents = []
    for char_id in chars:
        add_character(char_id)
        part = make_participant(xp_gained=10)
        documents.append(make_document({str(char_id): part}))
        session_id = UUID(documents[-1]["session_id"])
        redis_client.hset(
            redis_keys.session(session_id),
            mapping={"status": "active", "participants": json.dumps([char_id])},
        )
        fall_silent(redis_client, session_id)
    conflicts = []

    def submit_late() -> None:
        for document in random.Random(22).sample(documents, fights):
            try:
                engine.submit_combat_sync(document)
            except PayloadConflict:
                conflicts.append(UUID(document["session_id"]))

    in_threads(force_abandoned, submit_late)
    while redis_client.zcard(redis_keys.INBOX):
        settle_inbox()

    rows = {row.session_id: row for row in CombatHistory.objects.all()}
    assert len(rows) == fights
    forced = {
        id_ for id_, row in rows.items() if row.result_payload["meta"].get("forced")
    }
    assert forced == set(conflicts)
    assert 0 < len(forced) < fights
    assert {id_ for _, id_ in reports()} == forced
    for document, char_id in zip(documents, chars, strict=True):
        won = 0 if UUID(document["session_id"]) in forced else 10
        assert Character.objects.get(pk=char_id).xp == won


def test_a_silent_combat_without_players_is_reported(redis_client: redis.Redis) -> None:
    session_id = new_session_id()
    redis_client.hset(redis_keys.session(session_id), "status", "active")
    fall_silent(redis_client, session_id)

    sweep_and_settle()
    sweep_and_settle()

    assert reports() == [("result_missing", session_id)]
    assert redis_client.zscore(redis_keys.ACTIVE, str(session_id)) is None


def test_a_finished_session_without_a_result_is_reported_once(
    redis_client: redis.Redis,
) -> None:
    session_id = new_session_id()
    redis_client.hset(
        redis_keys.session(session_id),
        mapping={
            "status": "finished",
            "participants": "[101]",
            "heartbeat": LONG_AGO_MS,
        },
    )

    sweep_and_settle()
    sweep_and_settle()

    report = RejectedPayload.objects.get()
    assert (report.code, report.session_id) == ("result_missing", session_id)
    assert report.times_seen == 1
    assert report.raw is not None
    assert json.loads(bytes(report.raw))["participants"] == "[101]"
    assert not CombatHistory.objects.exists()


def test_a_session_that_has_only_just_finished_is_not_reported(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    redis_client.hset(redis_keys.session(session_id), "status", "finished")

    sweep_and_settle()

    assert reports() == []


def test_a_session_that_vanished_is_reported_and_its_players_go_free(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    fall_silent(redis_client, session_id)
    redis_client.delete(redis_keys.session(session_id))

    sweep_and_settle()

    assert reports() == [("result_missing", session_id)]
    assert redis_client.zscore(redis_keys.ACTIVE, str(session_id)) is None
    # Nothing knows the combat: the account leaves it once that is no passing state.
    assert redis_client.hget("ac:101", "combat_session_id") == str(session_id).encode()
    redis_client.zadd(redis_keys.ORPHANS, {f"101:{session_id}": 0})
    sweep_and_settle()
    assert redis_client.hget("ac:101", "combat_session_id") is None


def test_the_player_of_an_unusable_result_goes_free(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    document = make_document()
    document["participants"]["101"]["changes"]["xp_gaind"] = 5
    session_id = UUID(document["session_id"])
    engine.start_combat_sync(session_id, [HERO])
    settle_combat(document)
    assert CombatHistory.objects.get(pk=session_id).settlement_status == "failed"

    sweep_and_settle()

    assert redis_client.hget("ac:101", "combat_session_id") is None


def test_an_account_in_a_running_combat_stays_in_it(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    redis_client.zadd(redis_keys.ORPHANS, {f"101:{session_id}": 0})

    sweep_and_settle()

    assert redis_client.hget("ac:101", "combat_session_id") == str(session_id).encode()


def test_an_engine_cannot_claim_that_it_abandoned_its_combat(
    engine: SyncDispatcher,
) -> None:
    document = make_document()
    document["meta"]["finish_reason"] = "abandoned"

    with pytest.raises(PayloadInvalid, match="expected one of victory, defeat"):
        engine.submit_combat_sync(document)


def test_an_abandoned_combat_is_not_started_again(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    session_id = new_session_id()
    engine.start_combat_sync(session_id, [HERO])
    fall_silent(redis_client, session_id)
    sweep_and_settle()

    with pytest.raises(CombatFinished):
        engine.start_combat_sync(session_id, [HERO])
