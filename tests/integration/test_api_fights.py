"""The engine's calls over HTTP: start, heartbeat, use, join, leave, finish, context."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
import redis
from django.http import HttpResponse
from pytest_django import Settings

from combat_history.models import Character, CombatHistory, InventoryItem
from persistence.belts.tasks import assemble_belts
from persistence.contract.ids import short_id
from persistence.contract.signing import EngineKeys
from persistence.dispatcher import SyncDispatcher
from persistence.tasks import settle_inbox
from tests.support.api import NOBODY_LISTENS, OTHER_TOKEN, accepted, problem, request
from tests.support.belts import add_fighter, holders
from tests.support.documents import HERO, POTION
from tests.support.engine import account, live
from tests.support.factories import add_character
from tests.support.ids import new_session_id

RIVAL = 102
WON = {
    "meta": {"winner_team": "blue", "finish_reason": "victory"},
    "participants": {"101": {"changes": {"xp_gained": 10}}},
}

pytestmark = pytest.mark.usefixtures("world", "api")


def call(path: str, body: object = None, **headers: str) -> HttpResponse:
    return request(
        "POST",
        f"/api/{path}",
        data="" if body is None else json.dumps(body),
        content_type="application/json",
        headers=headers,
    )


def told(response: HttpResponse) -> Any:
    assert response.status_code == HTTPStatus.OK, response.content
    return json.loads(response.content)


@pytest.fixture
def begun(fight: UUID) -> UUID:
    """A fight of the hero, blue, whose belt is loaded: five potions."""
    players = [{"char_id": HERO, "team": "blue"}]
    assert told(call(f"combats/{fight}/start", {"players": players}))["belts"] == "late"
    assemble_belts(str(fight))
    return fight


def potion(use_id: str = "a", **over: Any) -> dict[str, Any]:
    return {"char_id": HERO, "inventory_id": POTION, "use_id": use_id, **over}


def test_a_fight_is_played_by_http_alone(
    redis_client: redis.Redis, begun: UUID
) -> None:
    (row,) = add_fighter(RIVAL)
    address = f"combats/{short_id(begun)}"

    started = told(call(f"{address}/start", {"players": [{"char_id": HERO}]}))
    assert (started["session_id"], started["belts"]) == (str(begun), "loaded")
    assert started["held"] == []
    assert started["actors"]["101"] == {
        "team": "blue",
        "hp": None,
        "energy": None,
        "belt_items": [
            {
                "inventory_id": POTION,
                "item_template_id": "hp_pot_small",
                "slot": "belt_1",
                "quantity": 5,
            }
        ],
        "consumed": [],
    }
    assert told(call(f"{address}/heartbeat")) == {"running": True}
    for _ in range(2):
        left = told(call(f"{address}/use", potion()))
        assert left == {"inventory_id": POTION, "quantity": 4}
    rival = {"char_id": RIVAL, "team": "red"}
    assert [*told(call(f"{address}/join", {"players": [rival]}))["actors"]] == ["102"]
    assemble_belts(str(begun))
    assert holders() == {POTION: begun, row: begun}
    gone = told(call(f"{address}/leave", {"char_id": RIVAL}))
    assert gone == {"session_id": str(begun), "char_id": RIVAL}

    assert not accepted(call(f"{address}/finish", WON)).duplicate
    assert accepted(call(f"{address}/finish", WON)).duplicate
    settle_inbox()
    assert accepted(call(f"{address}/finish", WON)).duplicate

    combat = CombatHistory.objects.get(pk=begun)
    assert (combat.settlement_status, combat.caller) == ("processed", "engine")
    assert [*combat.result_payload["participants"]] == ["101", "102"]
    assert Character.objects.get(pk=HERO).xp == 10
    assert InventoryItem.objects.get(pk=POTION).quantity == 4
    assert told(call(f"{address}/heartbeat")) == {"running": False}
    problem(
        call(f"{address}/finish", {**WON, "participants": {"101": {}}}),
        HTTPStatus.CONFLICT,
        "payload_conflict",
    )


def test_http_and_dispatcher_play_the_same_fight(
    engine: SyncDispatcher, begun: UUID
) -> None:
    assert engine.use_item_sync(begun, HERO, POTION, "a") == 4

    assert told(call(f"combats/{begun}/use", potion()))["quantity"] == 4
    accepted(call(f"combats/{begun}/finish", WON))

    assert engine.finish_combat_sync(begun, WON) == "duplicate"


def test_what_a_fight_does_not_allow_is_a_conflict_by_its_code(begun: UUID) -> None:
    other, nobody = new_session_id(), new_session_id()
    add_character(RIVAL)
    rival, hero = ({"players": [{"char_id": id_}]} for id_ in (RIVAL, HERO))
    told(call(f"combats/{other}/start", rival))
    cases = [
        (f"combats/{nobody}/start", hero, "combat_in_progress"),
        (f"combats/{begun}/join", rival, "combat_in_progress"),
        (f"combats/{begun}/start", {"players": [{"char_id": 103}]}, "combat_running"),
        (f"combats/{nobody}/join", {"players": [{"char_id": 9}]}, "not_registered"),
        (f"combats/{nobody}/use", potion(), "not_registered"),
        (f"combats/{nobody}/leave", {"char_id": HERO}, "not_registered"),
        (f"combats/{nobody}/finish", WON, "not_registered"),
        (f"combats/{begun}/use", potion(char_id=RIVAL), "no_fighter"),
        (f"combats/{begun}/use", potion(inventory_id=1), "item_not_on_belt"),
        (f"combats/{begun}/leave", {"char_id": RIVAL}, "no_fighter"),
        ("characters/101/context", {"to": "inventory"}, "combat_in_progress"),
    ]

    for path, body, code in cases:
        problem(call(path, body), HTTPStatus.CONFLICT, code)


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        ("start", {"players": []}, "players"),
        ("join", {"players": [{"char_id": 0}]}, "players.0.char_id"),
        ("use", potion("x" * 101), "use_id"),
        ("use", potion(qty=2), "qty"),
        ("leave", {}, "char_id"),
    ],
)
def test_a_body_against_the_contract_changes_nothing(
    redis_client: redis.Redis, begun: UUID, path: str, body: object, fault: str
) -> None:
    before = live(redis_client, begun)

    refused = problem(
        call(f"combats/{begun}/{path}", body),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_request",
    )

    assert refused.errors is not None
    assert [one.path for one in refused.errors] == [fault]
    assert live(redis_client, begun) == before


def test_an_outcome_against_the_contract_is_refused_with_its_paths(begun: UUID) -> None:
    odd = {**WON, "participants": {"101": {"changes": {"xp": 5}}, "999": {}}}

    refused = problem(
        call(f"combats/{begun}/finish", odd),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_payload",
    )

    assert refused.errors is not None
    assert [one.path for one in refused.errors] == ["participants.999"]
    assert not CombatHistory.objects.exists()
    accepted(call(f"combats/{begun}/finish", WON))


def test_the_context_is_switched(redis_client: redis.Redis) -> None:
    journey = new_session_id()
    body = {"to": "scenario", "session_id": short_id(journey)}

    opened = told(call(f"characters/{HERO}/context", body))
    closed = told(call(f"characters/{HERO}/context", {"to": "idle"}))

    assert opened == {"session_id": str(journey), "changed": True, "closed": {}}
    assert closed == {
        "session_id": None,
        "changed": True,
        "closed": {"scenario": str(journey)},
    }
    assert "scenario_session_id" not in account(redis_client, HERO)
    problem(
        call(f"characters/{HERO}/context", {"to": "combat"}),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_request",
    )


@pytest.mark.parametrize("is_signed", [True, False])
def test_where_engines_sign_only_a_signed_outcome_counts(
    redis_client: redis.Redis, begun: UUID, settings: Settings, is_signed: bool
) -> None:
    keys = EngineKeys.parse("game:a-secret-of-sixteen")
    settings.SETTLEMENT_ENGINE_KEYS = keys
    of = begun if is_signed else new_session_id()
    signature = keys.sign_outcome(of, json.dumps(WON).encode())

    accepted(
        call(f"combats/{begun}/finish", WON, **{"X-Settlement-Signature": signature})
    )
    settle_inbox()

    combat = CombatHistory.objects.filter(pk=begun)
    if is_signed:
        assert combat.get().settlement_status == "processed"
    else:
        # Nobody's word ends a fight that goes on.
        assert live(redis_client, begun)["status"] == "active"
        assert combat.get().settlement_status in {"pending", "failed"}
        assert Character.objects.get(pk=HERO).xp == 0


def test_a_reader_does_not_play(fight: UUID) -> None:
    for path in ("start", "join", "leave", "use", "heartbeat", "finish"):
        refused = request("POST", f"/api/combats/{fight}/{path}", OTHER_TOKEN)
        problem(refused, HTTPStatus.FORBIDDEN, "missing_scope")


def test_without_redis_nothing_is_played(fight: UUID, settings: Settings) -> None:
    settings.REDIS_URL = NOBODY_LISTENS
    paths = {
        "start": {"players": [{"char_id": HERO}]},
        "use": potion(),
        "finish": WON,
    }

    for path, body in paths.items():
        refused = call(f"combats/{fight}/{path}", body)
        problem(refused, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
