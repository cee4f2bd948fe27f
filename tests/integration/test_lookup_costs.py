"""What a look-up costs, and what it does without its servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import redis
from django.db import connection
from pytest_django import DjangoAssertNumQueries, Settings

from combat_history.reading.lookup import (
    ACTIVE,
    CANNOT_SAY,
    UNKNOWN,
    Credit,
    Lookup,
    find_result,
)
from persistence.contract.document import Document
from persistence.engine import scripts
from persistence.tasks import settle_inbox
from tests.conftest import Settle
from tests.support.api import NOBODY_LISTENS
from tests.support.documents import HERO
from tests.support.lookups import (
    Find,
    aask_monitored,
    ask_monitored,
    finished,
    hand_off,
    id_of,
    start,
)
from tests.support.proxy import Proxy
from tests.support.worker import database_url

STRANGER = 102

pytestmark = pytest.mark.usefixtures("world")


@pytest.mark.parametrize("ask", [ask_monitored, aask_monitored])
def test_what_redis_knows_costs_one_round_trip_and_no_query(
    ask: Callable[[UUID, redis.Redis], tuple[Lookup, list[str]]],
    redis_client: redis.Redis,
    document: Document,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    session_id = id_of(document)
    find_result(session_id, HERO)
    steps: list[tuple[Callable[[], Any], Lookup]] = [
        (lambda: start(redis_client, document), ACTIVE),
        (lambda: hand_off(document), finished(Credit.PENDING)),
        (settle_inbox, finished(Credit.CREDITED)),
    ]
    for step, expected in steps:
        step()
        # One for the warm-up's unknown id.
        with django_assert_num_queries(1):
            assert ask(session_id, redis_client) == (expected, ["EVALSHA"])


@pytest.mark.parametrize("ask", [ask_monitored, aask_monitored])
def test_miss_costs_one_query_by_primary_key_and_brings_the_tombstone_back(
    ask: Callable[[UUID, redis.Redis], tuple[Lookup, list[str]]],
    settle_here: Settle,
    redis_client: redis.Redis,
    document: Document,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    settle_here(document)
    redis_client.flushdb()
    redis_client.script_load(scripts.source("remember"))

    with django_assert_num_queries(2) as queries:
        lookup, commands = ask(id_of(document), redis_client)

    assert lookup == finished(Credit.CREDITED)
    assert commands == ["EVALSHA", "EVALSHA"]
    query = queries.captured_queries[-1]["sql"]
    assert f'WHERE "combat_history"."session_id" = \'{id_of(document).hex}\'' in query


def test_without_redis_postgresql_answers(
    find: Find,
    settle_here: Settle,
    settings: Settings,
    document: Document,
) -> None:
    settle_here(document)
    settings.REDIS_URL = NOBODY_LISTENS

    assert find(id_of(document), HERO) == finished(Credit.CREDITED)
    assert find(id_of(document), STRANGER) == UNKNOWN
    assert find(uuid4(), HERO) == CANNOT_SAY


def test_frozen_redis_costs_a_second_and_no_answer(
    find: Find, settle_here: Settle, redis_proxy: Proxy, document: Document
) -> None:
    settle_here(document)
    find(id_of(document), HERO)
    redis_proxy.pause()
    began = time.monotonic()

    assert find(id_of(document), HERO) == finished(Credit.CREDITED)

    assert time.monotonic() - began < 1.9
    redis_proxy.resume()
    assert find(id_of(document), HERO) == finished(Credit.CREDITED)


def test_connection_that_redis_closed_long_ago_is_replaced(
    settle_here: Settle,
    redis_proxy: Proxy,
    document: Document,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    settle_here(document)
    find_result(id_of(document), HERO)
    redis_proxy.cut()

    with django_assert_num_queries(0):
        assert find_result(id_of(document), HERO) == finished(Credit.CREDITED)


def end_our_session() -> None:
    """As a restart of PostgreSQL does to whoever is connected."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    with psycopg.connect(database_url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_connection_that_postgresql_closed_long_ago_is_replaced(
    find: Find, settle_here: Settle, redis_client: redis.Redis, document: Document
) -> None:
    settle_here(document)
    redis_client.flushdb()
    end_our_session()

    assert find(id_of(document), HERO) == finished(Credit.CREDITED)


def test_without_postgresql_redis_still_answers_what_it_knows(
    find: Find, settle_here: Settle, document: Document, settings: Settings
) -> None:
    settle_here(document)
    known = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nonexistent"
    try:
        assert find(id_of(document), HERO) == finished(Credit.CREDITED)
        assert find(uuid4(), HERO) == CANNOT_SAY
    finally:
        connection.close()
        connection.settings_dict["HOST"] = known
    assert find(id_of(document), HERO) == finished(Credit.CREDITED)
