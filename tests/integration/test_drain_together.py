"""A batch: settled as a whole, tried again, taken apart, or put back."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.db import connection
from django.db.models import Sum
from pytest_django import Settings

from combat_history.models import (
    CombatHistory,
    MinuteCount,
)
from persistence.contract import redis_keys
from persistence.engine.handoff import checked
from persistence.worker import counts, inbox
from tests.support.documents import HERO, make_document, make_participant
from tests.support.draining import (
    CONNECTION,
    CONTENTION,
    LEDGER,
    LOST,
    UNFORESEEN,
    claims_of,
    ends,
    is_in_the_inbox,
    logged,
    refused,
    row_of,
    settle,
    submitted,
)
from tests.support.redis_server import redis_away

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture(autouse=True)
def _long_waits(settings: Settings) -> None:
    settings.SETTLEMENT_LEASE_MS = 60_000
    settings.SETTLEMENT_BACKOFF_MS = 60_000


def counted() -> dict[str, int]:
    assert counts.flush()
    found = MinuteCount.objects.values_list("name").annotate(total=Sum("count"))
    return {name: total for name, total in found if total}


def test_a_batch_is_settled_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted()
    MinuteCount.objects.all().delete()
    entries = submitted(2)

    assert settle(entries) is True

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert not ends()
    assert counted() == {"combat.processed": 2, "effects.applied": 2}
    assert logged(caplog, entries) == [("processed", "", 1, logging.INFO)] * 2
    assert "refused" not in caplog.text, "these stand: no account is put right"


def test_the_receipt_is_of_the_moment_and_the_hash_that_the_door_recorded() -> None:
    (entry,) = submitted()
    assert entry.accepted_at_ms is not None
    of_another_version = replace(entry, sha256="f" * 64)

    settle([of_another_version])

    row = row_of(entry)
    recorded = datetime.fromtimestamp(entry.accepted_at_ms / 1000, UTC)
    assert (row.received_at, row.payload_sha256) == (recorded, "f" * 64)


@pytest.mark.parametrize("claims", [0, 1])
def test_without_a_moment_the_receipt_is_postgresqls(
    redis_client: redis.Redis, claims: int
) -> None:
    handoff = checked(make_document())
    inbox.record(handoff)
    key = redis_keys.result(handoff.session_id)
    redis_client.hset(key, "accepted_at", "yesterday")
    redis_client.hset(key, "claims", claims)
    (entry,), _ = inbox.claim(1)

    settle([entry])

    assert row_of(entry).settlement_status == "processed"


def test_a_batch_that_met_others_is_tried_again_as_a_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = submitted(2)

    with refused(LEDGER, CONTENTION, times=1) as asked:
        assert settle(entries) is True
        assert asked() == 2

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert not ends()
    (record,) = rolled_back(caplog)
    assert (record.transient, record.combats) == ("contention", 2)
    assert record.error.startswith("SerializationFailure: not now")
    assert not record.exc_info


def rolled_back(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [r for r in caplog.records if r.message == "batch rolled back"]


def test_a_batch_that_met_them_again_is_taken_apart() -> None:
    entries = submitted(2)

    with refused(LEDGER, CONTENTION, times=2) as asked:
        assert settle(entries) is True
        assert asked() == 4

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert ends() == {e.session_id: ("processed", "", True) for e in entries}


def test_a_batch_with_an_unforeseen_error_is_taken_apart_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = submitted(2)

    with refused(LEDGER, UNFORESEEN, times=1) as asked:
        assert settle(entries) is True
        assert asked() == 3

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    (record,) = rolled_back(caplog)
    assert (record.transient, record.combats) == ("no", 2)
    assert record.exc_info


def test_where_postgresql_is_away_all_goes_back_and_nothing_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, again = submitted(2), submitted(claims=3)

    with refused(LEDGER, CONNECTION) as asked:
        assert settle([*first, *again]) is False
        assert asked() == 2

    assert [claims_of(entry) for entry in (*first, *again)] == [b"0", b"0", b"3"]
    assert all(map(is_in_the_inbox, (*first, *again)))
    assert not CombatHistory.objects.exists()
    assert [record.transient for record in rolled_back(caplog)] == ["connection"] * 2


def test_a_batch_that_lost_its_connection_is_tried_again_on_another() -> None:
    entries = submitted(2)

    with refused(LEDGER, LOST, times=1):
        assert settle(entries) is True

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert not ends()


def backend() -> int:
    """The process of PostgreSQL's that we talk to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return int(pid)


@pytest.mark.parametrize("claims", [0, 1], ids=["together", "alone"])
@pytest.mark.parametrize(
    ("sqlstate", "stays"), [(CONTENTION, True), (CONNECTION, False)]
)
def test_who_is_sent_away_comes_back_on_another_connection(
    claims: int, sqlstate: str, stays: bool
) -> None:
    """As a server does that shuts down, or a pooler whose server is gone."""
    entries = submitted(claims=claims)
    before = backend()

    with refused(LEDGER, sqlstate, times=1):
        settle(entries)
        assert (backend() == before) is stays


def test_effects_that_redis_did_not_confirm_are_counted_so(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    counted()
    MinuteCount.objects.all().delete()
    entries = submitted(2)

    with redis_away(settings):
        assert settle(entries) is True

    assert {row_of(entry).settlement_status for entry in entries} == {"processed"}
    assert all(map(is_in_the_inbox, entries))
    assert counted() == {"combat.processed": 2, "effects.not_confirmed": 2}
    assert logged(caplog, entries) == [("processed", "", 1, logging.INFO)] * 2


def vitals(client: redis.Redis) -> tuple[object, object]:
    hp, energy = client.hmget(redis_keys.account(HERO), ["hp", "energy"])
    return hp, energy


def test_vitals_of_a_document_that_does_not_stand_are_put_right(
    redis_client: redis.Redis,
) -> None:
    (entry,) = submitted()
    settle([entry])
    assert vitals(redis_client) == (b"450", b"20"), "of the one that stands"
    redis_client.flushdb()
    document = json.loads(entry.raw or b"")
    hurt = make_participant(state_snapshot={"hp": 1, "energy": 2}, gold_gained=7)
    inbox.record(checked({**document, "participants": {str(HERO): hurt}}))
    (other,), _ = inbox.claim(1)
    assert vitals(redis_client) == (b"1", b"2")

    settle([other])

    assert vitals(redis_client) == (b"450", b"20")
