"""The sweep: what was lost or stuck goes back through the same doors."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest
import redis
from django.db import OperationalError, connection

from combat_history.models import (
    Character,
    CombatHistory,
    CombatParticipant,
    InventoryItem,
    RejectedPayload,
)
from persistence.contract import redis_keys
from persistence.contract.document import Document, canonical_json, digest
from persistence.engine.handoff import checked
from persistence.tasks import settle_combat, settle_inbox, sweep
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.documents import (
    HERO,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.ids import new_session_id
from tests.support.parallel import in_threads
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, database_url

pytestmark = pytest.mark.usefixtures("world")


def insert_as_the_seed_does(document: Document, participants: list[int]) -> None:
    """Three columns; all others are the database's own defaults."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload)"
            " VALUES (%s, %s, %s)",
            [document["session_id"], participants, json.dumps(document)],
        )


def make_overdue() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE combat_history SET due_at = now() - interval '1 hour'")


def sweep_and_settle() -> None:
    sweep()
    settle_inbox()


def test_row_of_the_seeds_three_columns_is_settled(redis_client: redis.Redis) -> None:
    document = sample_document()
    insert_as_the_seed_does(document, [HERO])
    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.attempts) == ("pending", 0)
    make_overdue()

    sweep_and_settle()

    row.refresh_from_db()
    assert row.settlement_status == "processed"
    assert row.payload_sha256 == digest(canonical_json(document))
    assert row.document() == document
    hero = Character.objects.get()
    assert (hero.xp, hero.gold, hero.hp) == (1250, 100, 450)
    assert InventoryItem.objects.get(item_template_id="wolf_pelt").quantity == 1
    assert CombatParticipant.objects.get().session_id == row.session_id
    assert redis_client.exists(redis_keys.tombstone(row.session_id))
    assert not redis_client.exists(redis_keys.INBOX)


def test_duplicate_of_a_three_column_row_is_no_conflict() -> None:
    document = sample_document()
    insert_as_the_seed_does(document, [HERO])

    settle_combat(document)
    settle_combat(json.dumps(document))

    assert not RejectedPayload.objects.exists()
    assert Character.objects.get().gold == 100


def test_invalid_three_column_row_fails() -> None:
    insert_as_the_seed_does({"session_id": str(new_session_id()), "meta": 5}, [HERO])
    make_overdue()

    sweep_and_settle()

    row = CombatHistory.objects.get()
    assert (row.settlement_status, row.failure_code) == ("failed", "invalid_payload")


def test_receipt_that_is_not_due_yet_is_left_alone(redis_client: redis.Redis) -> None:
    """It may be on its way into the inbox, or be tried by a worker right now."""
    insert_as_the_seed_does(make_document(), [HERO])

    sweep()

    assert not redis_client.exists(redis_keys.INBOX)


def test_pending_rows_are_found_after_redis_was_emptied(
    redis_client: redis.Redis,
) -> None:
    documents = [make_document() for _ in range(3)]
    for document in documents:
        insert_as_the_seed_does(document, [HERO])
        inbox.record(checked(document))
    make_overdue()
    redis_client.flushdb()

    sweep_and_settle()

    assert Character.objects.get().gold == 15
    assert not CombatHistory.objects.exclude(settlement_status="processed").exists()


def test_pending_row_in_the_inbox_keeps_its_lease(redis_client: redis.Redis) -> None:
    document = make_document()
    insert_as_the_seed_does(document, [HERO])
    make_overdue()
    redis_client.zadd(redis_keys.INBOX, {document["session_id"]: 10**15})

    sweep()

    assert redis_client.zscore(redis_keys.INBOX, document["session_id"]) == 10**15


def live_session(
    client: redis.Redis, session_id: str, result: object, status: str = "finished"
) -> str:
    key = redis_keys.session(UUID(session_id))
    client.hset(key, "status", status)
    client.hset(
        key, "result", result if isinstance(result, str) else json.dumps(result)
    )
    return key


def test_finished_session_with_unsent_result_is_handed_off(
    redis_client: redis.Redis,
) -> None:
    document = make_document()
    key = live_session(redis_client, document["session_id"], document)

    sweep_and_settle()

    assert CombatHistory.objects.get().document() == document
    assert Character.objects.get().gold == 5
    assert redis_client.hget(redis_keys.account(HERO), "hp") == b"450"
    assert not redis_client.exists(key)


@pytest.mark.parametrize("status", ["active", "", "paused"])
def test_session_that_is_not_finished_is_not_touched(
    redis_client: redis.Redis, status: str
) -> None:
    document = make_document()
    live_session(redis_client, document["session_id"], document, status)

    sweep_and_settle()

    assert not CombatHistory.objects.exists()


def test_result_that_was_sent_is_not_sent_again(redis_client: redis.Redis) -> None:
    """Whether Redis knows of it, or, emptied meanwhile, only PostgreSQL."""
    sent, settled = make_document(), make_document()
    inbox.record(checked(sent))
    for document in (sent, settled):
        live_session(redis_client, document["session_id"], document)
    insert_as_the_seed_does(settled, [HERO])

    sweep()

    assert redis_client.zrange(redis_keys.INBOX, 0, -1) == [sent["session_id"].encode()]


def test_sweep_passes_over_what_is_no_session(redis_client: redis.Redis) -> None:
    document = make_document()
    redis_client.set("cs:text", "x")
    redis_client.hset("cs:no-uuid", "status", "finished")
    redis_client.hset("cs:no-uuid", "result", "{}")
    redis_client.set(redis_keys.session(new_session_id()), "x")
    live_session(redis_client, document["session_id"], document)

    sweep_and_settle()

    assert Character.objects.get().gold == 5


@pytest.mark.parametrize("result", ["{", "[]", "{}", '{"session_id": "x"}'])
def test_unusable_unsent_result_is_visible_as_a_row(
    redis_client: redis.Redis, result: str
) -> None:
    live_session(redis_client, str(new_session_id()), result)

    sweep_and_settle()
    sweep_and_settle()

    assert RejectedPayload.objects.exists() or CombatHistory.objects.exists()


def test_unsent_result_of_another_session_is_not_handed_off_for_ever(
    redis_client: redis.Redis,
) -> None:
    live_session(redis_client, str(new_session_id()), make_document())
    sweep_and_settle()

    sweep()

    assert not redis_client.exists(redis_keys.INBOX)


def test_two_sweeps_at_once_do_what_one_does(redis_client: redis.Redis) -> None:
    for _ in range(5):
        insert_as_the_seed_does(make_document(), [HERO])
        document = make_document()
        live_session(redis_client, document["session_id"], document)
    make_overdue()

    in_threads(sweep, sweep)
    settle_inbox()

    assert CombatHistory.objects.filter(settlement_status="processed").count() == 10
    assert Character.objects.get().gold == 50


def test_worker_sweeps_and_settles_by_itself(
    settle: Settle, worker: CeleryProcess, redis_client: redis.Redis
) -> None:
    document: dict[str, Any] = make_document({"101": make_participant(gold_gained=7)})
    insert_as_the_seed_does(document, [HERO])
    make_overdue()

    worker_does = sweep.apply_async()

    worker.wait_succeeded([str(worker_does.id)])
    wait_until(lambda: Character.objects.get().gold == 7, "the ring settles the row")


def test_the_next_sweep_begins_behind_the_case_that_the_last_was_killed_in(
    redis_client: redis.Redis,
) -> None:
    """Where one case always takes too long, those behind it wait for none of it."""
    document = make_document()
    live_session(redis_client, document["session_id"], document)
    redis_client.set(redis_keys.SWEEP_AT, "pending_returned")
    insert_as_the_seed_does(make_document(), [HERO])
    make_overdue()

    with psycopg.connect(database_url()) as other:
        # The second case finds the session and looks here for its row, in vain.
        other.execute("LOCK TABLE combat_history IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(OperationalError):
            sweep()
    assert redis_client.get(redis_keys.SWEEP_AT) == b"results_handed_off"

    sweep_and_settle()

    statuses = CombatHistory.objects.values_list("settlement_status", flat=True)
    assert list(statuses) == ["processed"] * 2
    assert not redis_client.exists(redis_keys.SWEEP_AT)
