"""Whatever stands under our Redis keys, nobody who looks gets an error for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from uuid import UUID

import pytest
import redis

from combat_history.models import CombatHistory
from combat_history.reading.lookup import UNKNOWN, Credit
from persistence.belts.containers import fighters
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import checked
from persistence.protocols import Delivery
from persistence.savers.registry import open_combat_saver
from persistence.tasks import settle_inbox, sweep
from persistence.worker import inbox
from tests.support.api import get, request, result_path
from tests.support.documents import HERO, sample_document
from tests.support.ids import new_session_id
from tests.support.lookups import Find, id_of, start

pytestmark = pytest.mark.usefixtures("world", "api")

DEEP = "[" * 100_000
LONG = f"[{'9' * 5_000}]"
TEXTS = ["", "{", "null", "5", '"x"', "{}", "[[101]]", "\udcff", DEEP, LONG]


def put(client: redis.Redis, key: str, field: str, text: str) -> None:
    client.hset(key, field, text.encode("utf-8", "surrogateescape"))


def reserve(session_id: UUID) -> int:
    path = f"/api/combats/{session_id}/belts"
    body = json.dumps({"char_ids": [HERO]})
    return request("POST", path, data=body, content_type="application/json").status_code


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:20])
@pytest.mark.parametrize(
    "field", ["status", "participants", "result", "heartbeat", f"actor:{HERO}"]
)
def test_any_text_in_a_live_session(
    find: Find, redis_client: redis.Redis, document: Document, field: str, text: str
) -> None:
    key = start(redis_client, document)
    put(redis_client, key, field, text)

    find(id_of(document), HERO)
    assert get(result_path(id_of(document))).status_code in (200, 404)
    assert reserve(id_of(document)) in (HTTPStatus.OK, HTTPStatus.CONFLICT)
    fighters(id_of(document))
    redis_client.zadd(redis_keys.ACTIVE, {document["session_id"]: 1})
    sweep()


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:20])
@pytest.mark.parametrize("field", ["raw", "sha256", "claims", "accepted_at"])
def test_any_text_in_a_result(
    find: Find, redis_client: redis.Redis, document: Document, field: str, text: str
) -> None:
    inbox.record(checked(document))
    put(redis_client, redis_keys.result(id_of(document)), field, text)

    find(id_of(document), HERO)
    status = get(result_path(id_of(document))).status_code
    assert status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND, 503)
    assert reserve(id_of(document)) in (HTTPStatus.OK, HTTPStatus.CONFLICT)


FOREIGN: list[Callable[[redis.Redis, str], object]] = [
    lambda client, key: client.set(key, "foreign"),
    lambda client, key: client.rpush(key, "foreign"),
    lambda client, key: client.zadd(key, {"foreign": 1}),
]


@pytest.mark.parametrize("plant", FOREIGN, ids=["string", "list", "sorted set"])
def test_foreign_types_under_the_keys_of_a_fight(
    find: Find,
    redis_client: redis.Redis,
    document: Document,
    plant: Callable[[redis.Redis, str], object],
) -> None:
    session_id = id_of(document)
    for key in (
        redis_keys.session(session_id),
        redis_keys.result(session_id),
        redis_keys.account(HERO),
        redis_keys.unknown(session_id),
        redis_keys.belts_ready(session_id),
    ):
        plant(redis_client, key)

    assert find(session_id, HERO) == UNKNOWN
    assert get(result_path(session_id)).status_code == HTTPStatus.NOT_FOUND
    assert reserve(session_id) == HTTPStatus.CONFLICT, "of no registered fight"


@pytest.mark.parametrize("plant", FOREIGN, ids=["string", "list", "sorted set"])
def test_a_foreign_value_in_the_place_of_one_result_holds_up_no_other(
    redis_client: redis.Redis,
    document: Document,
    plant: Callable[[redis.Redis, str], object],
) -> None:
    """Receipts that the sweep returns: the first one's key is foreign."""
    first, second = document, sample_document(session_id=str(new_session_id()))
    for received in (first, second):
        handoff = checked(received)
        with open_combat_saver() as saver:
            saver.receive(Delivery(handoff.session_id, handoff.raw, handoff.sha256))
    CombatHistory.objects.update(due_at="2025-01-01T00:00:00Z")
    CombatHistory.objects.filter(pk=id_of(first)).update(due_at="2024-01-01T00:00:00Z")
    plant(redis_client, redis_keys.result(id_of(first)))

    sweep()
    settle_inbox()

    statuses = CombatHistory.objects.values_list("settlement_status", flat=True)
    assert list(statuses) == ["processed", "processed"]


def test_a_foreign_count_of_unknown_fights_refuses_nobody(
    redis_client: redis.Redis, find: Find
) -> None:
    for key in redis_client.scan_iter(f"{redis_keys.UNKNOWN_ASKED_PREFIX}*"):
        redis_client.delete(key)
    get(result_path(new_session_id()))
    (key,) = redis_client.scan_iter(f"{redis_keys.UNKNOWN_ASKED_PREFIX}*")
    redis_client.delete(key)
    redis_client.set(key, "foreign")

    assert get(result_path(new_session_id())).status_code == HTTPStatus.NOT_FOUND
    assert find(new_session_id(), HERO).credit is not Credit.CREDITED
