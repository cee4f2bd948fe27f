"""GET /api/combats/{id}/result: the stale button over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import cast
from uuid import UUID, uuid4

import pytest
import redis
from pytest_django import DjangoAssertNumQueries, Settings

from combat_history.models import CombatHistory
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.ids import short_id
from persistence.engine.handoff import checked
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.api import (
    NOBODY_LISTENS,
    NOBODYS,
    OTHER_TOKEN,
    TOKEN,
    get,
    problem,
    result_of,
    result_path,
)
from tests.support.documents import HERO, make_document, make_participant
from tests.support.ids import new_session_id
from tests.support.proxy import Proxy

pytestmark = pytest.mark.usefixtures("world", "api")


def test_result_of_a_settled_fight(settled: UUID) -> None:
    response = get(result_path(settled, language="ru"))

    told = result_of(response)
    assert (told.session_id, told.state, told.credit) == (
        settled,
        "finished",
        "credited",
    )
    assert told.outcome is not None
    assert (told.outcome.gold, told.outcome.xp) == (100, 1250)
    assert told.outcome.loot[0].name == "Шкура волка"
    assert told.text.short == told.text.long
    assert told.text.short.split("\n") == [
        "Бой уже завершен!",
        "Победитель: Синие",
        "Награда: 100 золота",
        "Опыт: 1250 очков",
        "Добыча: Шкура волка",
        "Статус: начислено",
    ]
    assert response["Content-Language"] == "ru"


@pytest.mark.parametrize("form", [str, lambda id_: id_.hex, short_id])
def test_result_is_found_by_every_form_of_the_id(
    settled: UUID, form: Callable[[UUID], str]
) -> None:
    assert result_of(get(result_path(form(settled)))).session_id == settled


def test_credited_result_is_asked_for_again_and_known_by_its_etag(
    settled: UUID,
) -> None:
    first = get(result_path(settled))
    # It can be undone.
    assert first["Cache-Control"] == "private, no-cache"

    same = get(result_path(settled), **{"If-None-Match": first["ETag"]})
    assert (same.status_code, same.content) == (HTTPStatus.NOT_MODIFIED, b"")
    assert same["ETag"] == first["ETag"]
    assert same["Cache-Control"] == first["Cache-Control"]

    other = get(result_path(settled), **{"If-None-Match": '"another"'})
    assert other.status_code == HTTPStatus.OK
    russian = get(result_path(settled, language="ru"))
    assert russian["ETag"] != first["ETag"]


def test_result_that_may_change_is_asked_for_again(document: Document) -> None:
    inbox.record(checked(document))
    pending = get(result_path(document["session_id"]))
    assert pending["Cache-Control"] == "private, no-cache"
    assert result_of(pending).credit == "being_credited"

    settle_inbox()

    credited = get(
        result_path(document["session_id"]), **{"If-None-Match": pending["ETag"]}
    )
    assert result_of(credited).credit == "credited"


def test_result_of_a_running_fight(redis_client: redis.Redis) -> None:
    session_id = new_session_id()
    redis_client.hset(redis_keys.session(session_id), f"actor:{HERO}", "{}")

    told = result_of(get(result_path(session_id)))

    assert (told.state, told.credit, told.outcome) == ("active", None, None)
    assert told.text.short == "The fight is still going on"


def test_failed_and_voided_fights_say_so(settle_here: Settle) -> None:
    part = make_participant(items_gained=[{"item_template_id": "scale", "qty": 1}])
    document = make_document({str(HERO): part})
    settle_here(document)
    failed = get(result_path(document["session_id"]))
    assert result_of(failed).credit == "under_review"
    assert failed["Cache-Control"] == "private, no-cache"

    CombatHistory.objects.update(settlement_status="voided")

    voided = get(result_path(document["session_id"]))
    assert result_of(voided).credit == "cancelled"
    assert voided["Cache-Control"] == "private, max-age=86400, immutable"


def test_fight_of_others_and_no_fight_get_the_same_answer(settled: UUID) -> None:
    foreign = get(result_path(settled, 102, "ru"))
    nothing = get(result_path(uuid4(), HERO, "ru"))

    told = problem(foreign, HTTPStatus.NOT_FOUND, "unknown_combat")
    assert told.text is not None
    assert told.text.short == "Бой устарел или не существует"
    assert foreign.content == nothing.content
    del foreign.headers["X-Request-ID"], nothing.headers["X-Request-ID"]
    assert foreign.headers == nothing.headers


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/api/combats/attack/result?char_id=1", "session_id"),
        (f"/api/combats/{NOBODYS}/result", "char_id"),
        (result_path(NOBODYS, "me"), "char_id"),
        (result_path(NOBODYS, 0), "char_id"),
        (result_path(NOBODYS, "-101"), "char_id"),
        (result_path(NOBODYS, 2**63), "char_id"),
        (result_path(NOBODYS, "9" * 5000), "char_id"),
        ("/api/characters/hero/combats", "character_id"),
        ("/api/characters/0/belt", "character_id"),
        (f"/api/characters/{HERO}/combats?limit=0", "limit"),
        (f"/api/characters/{HERO}/combats?limit=101", "limit"),
        (f"/api/characters/{HERO}/combats?limit=", "limit"),
        (f"/api/characters/{HERO}/combats?cursor=", "cursor"),
        (f"/api/characters/{HERO}/combats?cursor=%D0%B9", "cursor"),
        (f"/api/characters/{HERO}/combats?cursor={'A' * 32}%0A", "cursor"),
    ],
)
def test_malformed_parameters_are_named(path: str, parameter: str) -> None:
    told = problem(get(path), HTTPStatus.BAD_REQUEST, "bad_parameter")

    assert told.errors is not None
    assert [error.path for error in told.errors] == [parameter]


def test_thirty_unknown_fights_a_minute_and_no_more(
    settled: UUID, redis_client: redis.Redis
) -> None:
    for _ in range(30):
        assert get(result_path(uuid4())).status_code == HTTPStatus.NOT_FOUND

    refused = get(result_path(uuid4()))

    problem(refused, HTTPStatus.TOO_MANY_REQUESTS, "too_many_unknown")
    assert 0 < int(refused["Retry-After"]) <= 60
    assert result_of(get(result_path(settled))).credit == "credited"
    other = get(result_path(uuid4()), OTHER_TOKEN)
    problem(other, HTTPStatus.NOT_FOUND, "unknown_combat")


def test_over_the_limit_postgresql_is_not_asked(
    settings: Settings,
    settled: UUID,
    redis_client: redis.Redis,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    settings.SETTLEMENT_API_UNKNOWN_PER_MINUTE = 1
    get(result_path(uuid4()))
    redis_client.delete(redis_keys.tombstone(settled))

    with django_assert_num_queries(0):
        cold = get(result_path(settled))

    problem(cold, HTTPStatus.TOO_MANY_REQUESTS, "too_many_unknown")


def test_the_same_unknown_fight_counts_once(settings: Settings, settled: UUID) -> None:
    settings.SETTLEMENT_API_UNKNOWN_PER_MINUTE = 2
    mashed = uuid4()
    for path in [result_path(mashed, 102)] * 5 + [result_path(settled, 102)] * 5:
        assert get(path).status_code == HTTPStatus.NOT_FOUND

    refused = get(result_path(uuid4(), 102))

    problem(refused, HTTPStatus.TOO_MANY_REQUESTS, "too_many_unknown")


def test_fights_of_others_are_limited_as_unknown_ones_are(
    settings: Settings, settle_here: Settle
) -> None:
    settings.SETTLEMENT_API_UNKNOWN_PER_MINUTE = 2
    fights = [make_document() for _ in range(3)]
    settle_here(*fights)

    answers = [get(result_path(fight["session_id"], 102)) for fight in fights]

    assert [answer.status_code for answer in answers] == [404, 404, 429]


def test_the_limit_is_of_the_last_minute(
    settings: Settings, redis_client: redis.Redis
) -> None:
    settings.SETTLEMENT_API_UNKNOWN_PER_MINUTE = 2
    for _ in range(2):
        get(result_path(uuid4()))
    (key,) = redis_client.keys(f"{redis_keys.UNKNOWN_ASKED_PREFIX}*")
    assert TOKEN.encode() not in key
    oldest = cast("bytes", redis_client.zrange(key, 0, 0)[0])

    redis_client.zincrby(key, -50, oldest)
    refused = get(result_path(uuid4()))
    assert 0 < int(refused["Retry-After"]) <= 10

    redis_client.zincrby(key, -11, oldest)
    assert get(result_path(uuid4())).status_code == HTTPStatus.NOT_FOUND


def test_without_redis_results_come_from_postgresql_and_nobody_is_counted(
    settings: Settings, settled: UUID
) -> None:
    settings.REDIS_URL = NOBODY_LISTENS
    settings.SETTLEMENT_API_UNKNOWN_PER_MINUTE = 1

    assert result_of(get(result_path(settled))).credit == "credited"
    for _ in range(3):
        assert get(result_path(uuid4())).status_code == HTTPStatus.SERVICE_UNAVAILABLE


def test_frozen_redis_costs_a_second_once(settled: UUID, redis_proxy: Proxy) -> None:
    redis_proxy.pause()
    for session_id, status in (
        (settled, HTTPStatus.OK),
        (uuid4(), HTTPStatus.SERVICE_UNAVAILABLE),
    ):
        began = time.monotonic()

        assert get(result_path(session_id)).status_code == status

        assert time.monotonic() - began < 1.9
