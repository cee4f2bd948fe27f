"""A tombstone that nobody can read: PostgreSQL is asked, and Redis put right."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
import redis
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from combat_history.reading.lookup import UNKNOWN, Credit, find_result
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.outcome import summary
from persistence.tasks import sweep
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.api import get, result_of, result_path
from tests.support.documents import HERO
from tests.support.examples import examples
from tests.support.lookups import (
    Find,
    finished,
    hand_off,
    id_of,
    tombstone,
    unknown_loot,
)

STRANGER = 102

pytestmark = pytest.mark.usefixtures("world")


WHOLE = {
    "revision": 1,
    "winner_team": "blue",
    "finish_reason": "victory",
    "end_timestamp": 1,
    "participants": {
        "101": {"is_winner": True, "team": None, "xp": 1, "gold": 2, "loot": []}
    },
}


def part(**over: object) -> dict[str, object]:
    mine = {**WHOLE["participants"]["101"], **over}  # type: ignore[index]
    return {**WHOLE, "participants": {"101": mine}}


UNREADABLE: list[object] = [
    b"",
    b"\xff\xfe\x00",
    b"{",
    b"null",
    b"5",
    b'"text"',
    b"[" * 100_000,
    b'{"revision":1,"winner_team":',
    b'{"revision":1,"undone":false}',
    b'{"revision":99999999999999999999,"undone":true',
    b"1" * 10_000,
    {},
    [],
    {**WHOLE, "participants": []},
    {**WHOLE, "participants": {"101": None}},
    {**WHOLE, "participants": {"101": []}},
    {**WHOLE, "end_timestamp": "1"},
    {**WHOLE, "winner_team": 5},
    {k: v for k, v in WHOLE.items() if k != "finish_reason"},
    part(gold="2"),
    part(gold=2.5),
    part(is_winner="yes"),
    part(loot={}),
    part(loot=[{"name": None, "qty": 1}]),
    part(loot=[{"name": "x"}]),
    part(loot=["x"]),
    b" " * (5 * 1024 * 1024),
]


@pytest.mark.parametrize("held", UNREADABLE, ids=lambda held: repr(held)[:40])
def test_an_unreadable_tombstone_is_asked_of_postgresql_and_overwritten(
    find: Find,
    settled: UUID,
    document: Document,
    redis_client: redis.Redis,
    held: object,
) -> None:
    text = held if isinstance(held, bytes) else json.dumps(held)
    redis_client.set(redis_keys.tombstone(settled), text)

    assert find(settled, HERO) == finished(Credit.CREDITED)
    assert tombstone(redis_client, settled) == summary(document)
    redis_client.set(redis_keys.tombstone(settled), text)
    assert find(settled, STRANGER) == UNKNOWN


def test_a_foreign_type_in_its_place_is_overwritten_too(
    find: Find, settled: UUID, document: Document, redis_client: redis.Redis
) -> None:
    redis_client.delete(redis_keys.tombstone(settled))
    redis_client.rpush(redis_keys.tombstone(settled), "foreign")

    assert find(settled, HERO) == finished(Credit.CREDITED)
    assert tombstone(redis_client, settled) == summary(document)


def test_an_unreadable_tombstone_of_what_was_never_settled_goes(
    find: Find, settle_here: Settle, redis_client: redis.Redis
) -> None:
    document = unknown_loot()
    settle_here(document)
    redis_client.set(redis_keys.tombstone(id_of(document)), "[]")

    assert find(id_of(document), HERO).credit is Credit.UNDER_REVIEW
    assert tombstone(redis_client, id_of(document)) is None


def test_beyond_an_unreadable_tombstone_redis_still_tells_what_it_knows(
    find: Find, document: Document, redis_client: redis.Redis
) -> None:
    hand_off(document)
    redis_client.set(redis_keys.tombstone(id_of(document)), "{")

    assert find(id_of(document), HERO) == finished(Credit.PENDING)


@given(
    held=st.binary(max_size=200)
    | st.from_regex(r'\A\{"revision":\d+,.{,40}\Z').map(str.encode)
)
@settings(
    max_examples=examples(50),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_bytes_at_all_break_a_look_up(
    settled: UUID, redis_client: redis.Redis, held: bytes
) -> None:
    redis_client.set(redis_keys.tombstone(settled), held)

    assert find_result(settled, HERO).credit is Credit.CREDITED


def test_over_http_an_unreadable_tombstone_is_no_error(
    api: None, settled: UUID, redis_client: redis.Redis
) -> None:
    redis_client.set(redis_keys.tombstone(settled), '{"participants": []}')

    assert result_of(get(result_path(settled))).credit == "credited"


HAND_WRITTEN: list[Any] = [
    {},
    {"meta": 5, "participants": {}},
    {"meta": {"finish_reason": "victory", "end_timestamp": 1}, "participants": []},
    {"meta": {"finish_reason": 1, "end_timestamp": "x"}, "participants": {"101": {}}},
]


@pytest.mark.parametrize("document", HAND_WRITTEN)
def test_a_processed_row_that_holds_no_document_is_told_without_amounts(
    find: Find, redis_client: redis.Redis, document: Any
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload,"
            " settlement_status, settled_at)"
            " VALUES (gen_random_uuid(), '{101}', %s, 'processed', now())"
            " RETURNING session_id",
            [json.dumps(document)],
        )
        session_id = cursor.fetchone()[0]

    assert find(session_id, HERO) == finished(Credit.CREDITED, None)
    inbox.put([session_id])
    sweep()
    assert find(session_id, HERO) == finished(Credit.CREDITED, None)
