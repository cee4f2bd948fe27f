"""POST /api/combats: accepted means durable in PostgreSQL, whatever Redis does."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import redis
from django.db import connection
from pytest_django import Settings

from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    RejectedPayload,
)
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import checked
from persistence.tasks import settle_inbox, sweep
from persistence.worker import inbox
from tests.support.api import (
    NOBODY_LISTENS,
    accepted,
    get,
    post,
    problem,
    result_path,
)
from tests.support.documents import (
    HERO,
    POTION,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.proxy import Proxy
from tests.support.worker import database_url

pytestmark = pytest.mark.usefixtures("world", "api")


def status_of(document: Document) -> str:
    return CombatHistory.objects.get(pk=document["session_id"]).settlement_status


def test_handed_off_sample_is_settled_to_the_documented_amounts(
    document: Document,
) -> None:
    told = accepted(post(document))
    assert (str(told.session_id), told.duplicate) == (document["session_id"], False)
    assert status_of(document) == "pending"

    settle_inbox()

    hero = Character.objects.get(pk=HERO)
    assert (hero.xp, hero.gold, hero.hp) == (1250, 100, 450)
    assert InventoryItem.objects.get(pk=POTION).quantity == 3
    assert status_of(document) == "processed"
    assert CombatHistory.objects.get().document() == document


def test_hand_off_leaves_in_redis_what_the_engines_own_door_leaves(
    document: Document, redis_client: redis.Redis
) -> None:
    session_id = UUID(document["session_id"])
    redis_client.hset(redis_keys.session(session_id), "status", "active")
    account = redis_keys.account(HERO)
    redis_client.hset(account, "combat_session_id", str(session_id))

    accepted(post(document))

    assert redis_client.hget(redis_keys.session(session_id), "status") == b"finished"
    assert redis_client.zscore(redis_keys.INBOX, str(session_id)) is not None
    assert redis_client.hget(account, "hp") == b"450"
    assert not redis_client.hexists(account, "combat_session_id")


def test_the_same_document_again_is_a_duplicate_and_changes_nothing(
    document: Document,
) -> None:
    accepted(post(document))
    other_bytes = json.dumps(document, indent=2, sort_keys=True)
    assert accepted(post(other_bytes)).duplicate is True

    settle_inbox()
    assert accepted(post(document)).duplicate is True
    settle_inbox()

    assert Character.objects.get(pk=HERO).gold == 100
    assert LedgerLine.objects.filter(kind="settlement").count() == 1
    assert not RejectedPayload.objects.exists()


def test_document_that_the_inbox_holds_already_is_a_duplicate(
    document: Document,
) -> None:
    inbox.record(checked(document))

    assert accepted(post(document)).duplicate is True


@pytest.mark.parametrize("settled_before", [True, False])
def test_another_document_of_a_known_session_is_a_conflict(
    document: Document, settled_before: bool, redis_client: redis.Redis
) -> None:
    accepted(post(document))
    if settled_before:
        settle_inbox()
        redis_client.flushdb()  # PostgreSQL alone has to know
    other = sample_document(session_id=document["session_id"], engine="other")

    told = problem(post(other), HTTPStatus.CONFLICT, "payload_conflict")

    assert document["session_id"] in told.detail
    settle_inbox()
    assert CombatHistory.objects.get().document() == document
    assert Character.objects.get(pk=HERO).gold == 100
    kept = RejectedPayload.objects.get()
    assert kept.code == "payload_conflict"
    assert json.loads(bytes(kept.raw or b"")) == other


def test_what_the_inbox_accepted_first_stands(document: Document) -> None:
    inbox.record(checked(document))
    other = sample_document(session_id=document["session_id"], engine="other")

    problem(post(other), HTTPStatus.CONFLICT, "payload_conflict")

    assert not CombatHistory.objects.exists()
    settle_inbox()
    assert CombatHistory.objects.get().document() == document
    assert RejectedPayload.objects.get().code == "payload_conflict"


INVALID: list[Any] = [
    pytest.param(
        make_document({str(HERO): make_participant(xp_gained=-1, gold_gained="5")}),
        "invalid_payload",
        [
            "participants.101.changes.xp_gained",
            "participants.101.changes.gold_gained",
        ],
        id="amounts",
    ),
    pytest.param(
        make_document({str(HERO): make_participant(xp_gained=-1)}),
        "out_of_range",
        ["participants.101.changes.xp_gained"],
        id="out of range",
    ),
    pytest.param(
        make_document(session_id="uuid-555-666"),
        "bad_session_id",
        ["session_id"],
        id="session id",
    ),
    pytest.param("[1, 2]", "not_an_object", [""], id="list"),
    pytest.param("", "invalid_payload", [""], id="no body"),
    pytest.param(b"\xff\xfe", "invalid_payload", [""], id="no UTF-8"),
    pytest.param(
        json.dumps(make_document(note="?")).replace("?", "\\u0000"),
        "invalid_payload",
        [""],
        id="NUL",
    ),
]


@pytest.mark.parametrize(("body", "code", "paths"), INVALID)
def test_document_against_the_contract_is_refused_and_nothing_recorded(
    redis_client: redis.Redis, body: Any, code: str, paths: list[str]
) -> None:
    told = problem(post(body), HTTPStatus.UNPROCESSABLE_ENTITY, code)

    assert told.errors is not None
    assert [error.path for error in told.errors] == paths
    assert all(error.message for error in told.errors)
    assert not CombatHistory.objects.exists()
    assert not RejectedPayload.objects.exists()
    assert redis_client.dbsize() == 0


def test_document_over_the_size_limit_is_refused(settings: Settings) -> None:
    settings.SETTLEMENT_MAX_DOCUMENT_BYTES = 2048

    problem(
        post(make_document(note="x" * 2048)),
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too_large",
    )
    accepted(post(make_document(note="x" * 1000)))


def test_the_size_limit_is_ours_not_that_of_forms(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2048

    accepted(post(make_document(note="x" * 4096)))


def test_without_redis_the_receipt_waits_for_the_sweep(
    document: Document, settings: Settings
) -> None:
    address = settings.REDIS_URL
    settings.REDIS_URL = NOBODY_LISTENS

    assert accepted(post(document)).duplicate is False
    assert accepted(post(document)).duplicate is True
    other = sample_document(session_id=document["session_id"], engine="other")
    problem(post(other), HTTPStatus.CONFLICT, "payload_conflict")
    assert status_of(document) == "pending"

    settings.REDIS_URL = address
    with connection.cursor() as cursor:
        cursor.execute("UPDATE combat_history SET due_at = now() - interval '1 min'")
    sweep()
    settle_inbox()
    assert status_of(document) == "processed"
    assert Character.objects.get(pk=HERO).gold == 100


def test_frozen_redis_costs_a_second_and_no_receipt(
    document: Document, redis_proxy: Proxy
) -> None:
    redis_proxy.pause()
    began = time.monotonic()

    assert accepted(post(document)).duplicate is False

    assert time.monotonic() - began < 1.9
    assert status_of(document) == "pending"


def test_row_that_somebody_holds_is_unavailable_not_lost(document: Document) -> None:
    with psycopg.connect(database_url()) as holder:
        holder.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload)"
            " VALUES (%s, '{}', '{}')",
            [document["session_id"]],
        )
        response = post(document)
        holder.rollback()

    problem(response, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
    assert response["Retry-After"] == "1"
    accepted(post(document))


def test_without_postgresql_nothing_is_accepted(
    document: Document, redis_client: redis.Redis
) -> None:
    known = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nonexistent"
    try:
        response = post(document)
        cold = get(result_path(uuid4()))
    finally:
        connection.close()
        connection.settings_dict["HOST"] = known

    problem(response, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
    problem(cold, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
    assert redis_client.zcard(redis_keys.INBOX) == 0
