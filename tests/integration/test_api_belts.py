"""POST /api/combats/{id}/belts: reserved for engines that write `cs:` themselves."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
import redis
from django.http import HttpResponse
from pytest_django import Settings

from persistence.belts import reservations
from persistence.contract.ids import short_id
from persistence.engine.handoff import checked
from persistence.tasks import settle_combat
from persistence.worker import inbox
from tests.support.api import NOBODY_LISTENS, get, problem, request
from tests.support.belts import add_fighter, begin, container, holders
from tests.support.documents import HERO, POTION, make_document
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.parallel import character_locked

pytestmark = pytest.mark.usefixtures("world", "api")


def ask(fight: UUID | str, body: object) -> HttpResponse:
    return request(
        "POST",
        f"/api/combats/{fight}/belts",
        data=body if isinstance(body, str) else json.dumps(body),
        content_type="application/json",
    )


def reserve(fight: UUID | str, *char_ids: int) -> dict[str, Any]:
    response = ask(fight, {"char_ids": char_ids})
    assert response.status_code == HTTPStatus.OK, response.content
    told: dict[str, Any] = json.loads(response.content)
    return told


@pytest.fixture
def live(redis_client: redis.Redis, fight: UUID) -> UUID:
    """A fight of the hero that goes on."""
    begin(redis_client, fight, HERO)
    return fight


def test_belts_are_reserved_for_who_fights(
    redis_client: redis.Redis, fight: UUID
) -> None:
    earlier = new_session_id()
    (held,) = add_fighter(102)
    reservations.assemble(earlier, [102])
    add_character(103)
    begin(redis_client, fight, 103, HERO, 102, 104)

    told = reserve(fight, 103, HERO, 102, 104)

    potion = {
        "inventory_id": POTION,
        "item_template_id": "hp_pot_small",
        "slot": "belt_1",
        "quantity": 5,
        "reserved_by": str(fight),
    }
    assert told == {
        "session_id": str(fight),
        "belts": {str(HERO): [potion], "102": [], "103": []},
        "held": [
            {"inventory_id": held, "character_id": 102, "reserved_by": str(earlier)}
        ],
        "unknown": [104],
    }
    assert holders() == {POTION: fight, held: earlier}


def test_belts_of_a_live_fight_are_put_into_its_containers(
    redis_client: redis.Redis, fight: UUID
) -> None:
    begin(redis_client, fight, HERO)

    first = reserve(short_id(fight), HERO)

    (item,) = container(redis_client, fight, HERO)["belt_items"]
    assert item["inventory_id"] == POTION
    assert reserve(fight, HERO) == first


def test_a_fight_that_nobody_registered_holds_no_belt(fight: UUID) -> None:
    refused = ask(fight, {"char_ids": [HERO]})

    problem(refused, HTTPStatus.CONFLICT, "not_registered")
    assert holders() == {}


def test_a_fight_holds_no_belt_of_who_is_not_in_it(live: UUID) -> None:
    add_fighter(102)

    told = problem(
        ask(live, {"char_ids": [HERO, 102]}), HTTPStatus.CONFLICT, "no_fighter"
    )

    assert "102" in told.detail
    assert holders() == {}


def test_what_was_reserved_over_http_is_released_by_the_settlement(
    live: UUID,
) -> None:
    reserve(live, HERO)

    settle_combat(make_document(session_id=live))

    assert holders() == {}


def test_fight_that_is_over_gets_no_belt(fight: UUID) -> None:
    inbox.record(checked(make_document(session_id=fight)))

    told = problem(ask(fight, {"char_ids": [HERO]}), HTTPStatus.CONFLICT, "combat_over")

    assert str(fight) in told.detail
    assert holders() == {}


INVALID = [
    pytest.param({"char_ids": []}, "char_ids", id="nobody"),
    pytest.param({"char_ids": [1, 0]}, "char_ids.1", id="no id"),
    pytest.param({"char_ids": ["101"]}, "char_ids.0", id="text"),
    pytest.param({"char_ids": [2**63]}, "char_ids.0", id="too great"),
    pytest.param({"char_ids": [True]}, "char_ids.0", id="boolean"),
    pytest.param({"char_ids": list(range(1, 1002))}, "char_ids", id="a crowd"),
    pytest.param({"players": [HERO]}, "char_ids", id="missing"),
    pytest.param("{", "", id="no JSON"),
    pytest.param("[" + "1," * 70_000 + "1]", "", id="too long"),
]


@pytest.mark.parametrize(("body", "path"), INVALID)
def test_body_against_the_contract_is_refused_and_nothing_reserved(
    fight: UUID, body: object, path: str
) -> None:
    told = problem(ask(fight, body), HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request")

    assert told.errors is not None
    assert told.errors[0].path == path
    assert holders() == {}


def test_a_thousand_players_of_the_greatest_ids_fit(
    redis_client: redis.Redis, fight: UUID
) -> None:
    char_ids = [2**63 - 1 - number for number in range(1000)]
    begin(redis_client, fight, *char_ids)

    assert len(reserve(fight, *char_ids)["unknown"]) == 1000


def test_unreadable_session_id_is_a_bad_parameter() -> None:
    problem(
        ask("uuid-555-666", {"char_ids": [HERO]}),
        HTTPStatus.BAD_REQUEST,
        "bad_parameter",
    )


def test_without_redis_nothing_is_reserved(fight: UUID, settings: Settings) -> None:
    inbox.client.cache_clear()
    inbox.script.cache_clear()
    address, settings.REDIS_URL = settings.REDIS_URL, NOBODY_LISTENS
    try:
        response = ask(fight, {"char_ids": [HERO]})
    finally:
        settings.REDIS_URL = address
        inbox.client.cache_clear()
        inbox.script.cache_clear()

    problem(response, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
    assert holders() == {}


def test_fighter_that_somebody_holds_is_unavailable_not_unreserved(
    live: UUID,
) -> None:
    with character_locked(HERO):
        response = ask(live, {"char_ids": [HERO]})

    problem(response, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
    assert reserve(live, HERO)["belts"][str(HERO)]


def test_belt_of_a_character_tells_who_reserved_it(live: UUID) -> None:
    (item,) = json.loads(get(f"/api/characters/{HERO}/belt").content)["items"]
    assert "reserved_by" not in item

    reserve(live, HERO)

    (item,) = json.loads(get(f"/api/characters/{HERO}/belt").content)["items"]
    assert item["reserved_by"] == str(live)


def test_description_lets_the_reservation_be_left_out() -> None:
    document = json.loads(get("/api/openapi.json", None).content)

    entry = document["components"]["schemas"]["BeltEntry"]
    assert "reserved_by" in entry["properties"]
    assert "reserved_by" not in entry["required"]
    operation = document["paths"]["/api/combats/{session_id}/belts"]["post"]
    assert set(operation["responses"]) >= {"200", "400", "401", "409", "422", "503"}
