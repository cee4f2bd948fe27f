"""Each kind of leftover in Redis is found, and what is on its way is left alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest
import redis
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from pytest_django import Settings

from combat_history.reconcile.redis_checks import REDIS_CHECKS
from persistence.contract import redis_keys
from persistence.tasks import settle_inbox
from tests.support import documents
from tests.support.documents import HERO
from tests.support.reconciling import (
    FAILED,
    SAMPLE,
    UNKNOWN,
    found,
    reconcile,
    settle_each_ending,
)
from tests.support.waiting import wait_until

Plant = Callable[[redis.Redis], object]

LONG_AGO_MS = 1_735_460_000_000
SHA256 = "ab" * 32

PLANTS: dict[str, list[Plant]] = {
    "inbox_overdue": [
        lambda r: r.zadd(redis_keys.INBOX, {str(UNKNOWN): LONG_AGO_MS}),
    ],
    "inbox_of_settled": [
        lambda r: r.zadd(redis_keys.INBOX, {str(SAMPLE): LONG_AGO_MS}),
        lambda r: r.zadd(redis_keys.INBOX, {str(FAILED): LONG_AGO_MS}),
    ],
    "accepted_lost": [
        lambda r: r.hset(redis_keys.result(UNKNOWN), "raw", "{}"),
    ],
    "raw_of_settled": [
        lambda r: r.hset(redis_keys.result(SAMPLE), "raw", "{}"),
        lambda r: r.hset(redis_keys.result(FAILED), "raw", "{}"),
    ],
    "conflict_unrecorded": [
        lambda r: r.hset(redis_keys.result(SAMPLE), f"conflict:{SHA256}", "{}"),
    ],
    "session_of_settled": [
        lambda r: r.hset(redis_keys.session(SAMPLE), "status", "finished"),
        lambda r: r.hset(redis_keys.session(FAILED), "status", "active"),
    ],
    "active_of_settled": [
        lambda r: r.zadd(redis_keys.ACTIVE, {str(SAMPLE): LONG_AGO_MS}),
    ],
    "tombstone_of_unprocessed": [
        lambda r: r.set(redis_keys.tombstone(FAILED), "{}"),
        lambda r: r.set(redis_keys.tombstone(UNKNOWN), "{}"),
    ],
    "account_in_settled": [
        lambda r: r.hset(redis_keys.account(HERO), "combat_session_id", str(SAMPLE)),
    ],
}


@pytest.fixture(autouse=True)
def settled(settle_here: Callable[..., None]) -> None:
    settle_each_ending(settle_here)


@pytest.mark.parametrize(
    ("kind", "plant"),
    [(kind, plant) for kind, ways in PLANTS.items() for plant in ways],
)
def test_a_leftover_is_found_as_what_it_is(
    redis_client: redis.Redis, kind: str, plant: Plant
) -> None:
    assert found() == {}
    plant(redis_client)
    assert found() == {kind: 1}


def test_every_check_has_its_plant() -> None:
    assert set(PLANTS) == {check.code for check in REDIS_CHECKS}


def test_a_finding_names_the_account(redis_client: redis.Redis) -> None:
    redis_client.hset(redis_keys.account(HERO), "combat_session_id", SAMPLE.hex)
    (finding,) = reconcile()["findings"]
    assert finding["ids"] == {"session_id": str(SAMPLE), "character_id": str(HERO)}


def test_what_a_drain_is_about_to_clean_up_is_no_finding(
    redis_client: redis.Redis,
) -> None:
    document = documents.sample_document(session_id=SAMPLE)
    redis_client.hset(redis_keys.result(SAMPLE), "raw", json.dumps(document))
    redis_client.hset(redis_keys.result(SAMPLE), f"conflict:{SHA256}", "{}")
    redis_client.hset(redis_keys.session(SAMPLE), "status", "finished")
    redis_client.zadd(redis_keys.ACTIVE, {str(SAMPLE): LONG_AGO_MS})
    redis_client.zadd(redis_keys.INBOX, {str(SAMPLE): time.time() * 1000})
    assert found() == {}

    settle_inbox()
    redis_client.zrem(redis_keys.ACTIVE, str(SAMPLE))
    assert found() == {}


def test_documents_kept_on_purpose_are_no_findings(
    redis_client: redis.Redis, settings: Settings
) -> None:
    settings.SETTLEMENT_RAW_RETENTION_SECONDS = 3600
    redis_client.hset(redis_keys.result(SAMPLE), "raw", "{}")
    assert redis_client.ttl(redis_keys.result(SAMPLE)) > 0
    assert found() == {}
    redis_client.persist(redis_keys.result(SAMPLE))
    assert found() == {"raw_of_settled": 1}


def test_what_is_put_right_meanwhile_is_no_finding(redis_client: redis.Redis) -> None:
    field = f"conflict:{SHA256}"
    redis_client.hset(redis_keys.result(SAMPLE), field, "{}")
    reports: list[dict[str, int]] = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '30s'")
        reports.append(found())
        connection.close()

    looking = threading.Thread(target=look)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE rejected_payloads")
        looking.start()
        wait_until(lambda: is_waited_for(cursor), "the tables are asked")
        # Seen in Redis, not yet in the tables: a drain is just about to record it.
        redis_client.hdel(redis_keys.result(SAMPLE), field)
    looking.join()
    assert reports == [{}]


def is_waited_for(cursor: CursorWrapper) -> bool:
    cursor.execute(
        "SELECT count(*) FROM pg_locks WHERE NOT granted"
        " AND relation = 'rejected_payloads'::regclass"
    )
    return bool(cursor.fetchone()[0])


def test_keys_of_other_programs_are_left_alone(redis_client: redis.Redis) -> None:
    redis_client.set(redis_keys.session(SAMPLE), "not ours")
    redis_client.hset("cs:lobby", "status", "finished")
    redis_client.hset(redis_keys.account(HERO), "combat_session_id", "none")
    redis_client.zadd(redis_keys.ACTIVE, {"arena": LONG_AGO_MS})
    assert found() == {}
