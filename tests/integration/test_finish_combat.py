"""finish_combat: the document that is made of what Redis knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
import redis
from django.conf import settings

from combat_history.models import Character, InventoryItem
from persistence.belts.tasks import assemble_belts
from persistence.contract import redis_keys
from persistence.contract.errors import (
    CombatFinished,
    PayloadConflict,
    PayloadInvalid,
)
from persistence.contract.signing import EngineKeys
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt
from tests.support.belts import add_fighter, holders
from tests.support.documents import HERO, POTION, make_document
from tests.support.engine import account, live
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.playing import result_of, won

RIVAL, FRIEND = 102, 103

pytestmark = pytest.mark.usefixtures("world")


def test_a_document_is_made_of_what_redis_knows(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: UUID
) -> None:
    add_fighter(RIVAL)
    redis_client.hset("ac:101", mapping={"hp": 90, "energy": 30})
    engine.start_combat_sync(fight, [HERO, RIVAL], {HERO: "blue", RIVAL: "red"})
    assemble_belts(str(fight))
    engine.use_item_sync(fight, HERO, POTION, "a")
    outcome = {
        "meta": {"winner_team": "blue", "finish_reason": "victory", "map": "wood"},
        "participants": {
            "101": {"changes": {"xp_gained": 10, "gold_gained": 5}, "name": "Анна"},
            "102": {"state_snapshot": {"hp": 0, "energy": 3}},
            "goblin_1": {"team": "red"},
        },
        "replay_log": [{"turn": 1}],
    }
    now = redis_client.time()[0]

    assert engine.finish_combat_sync(fight, outcome) is Receipt.ACCEPTED

    document = result_of(fight)
    assert 0 <= document["meta"].pop("end_timestamp") - now <= 2
    assert document == {
        "session_id": str(fight),
        "meta": {"winner_team": "blue", "finish_reason": "victory", "map": "wood"},
        "participants": {
            "101": {
                "is_winner": True,
                "team": "blue",
                "name": "Анна",
                "state_snapshot": {"hp": 90, "energy": 30},
                "changes": {
                    "xp_gained": 10,
                    "gold_gained": 5,
                    "items_consumed": [
                        {
                            "inventory_id": POTION,
                            "item_template_id": "hp_pot_small",
                            "qty": 1,
                        }
                    ],
                },
            },
            "102": {
                "is_winner": False,
                "team": "red",
                "state_snapshot": {"hp": 0, "energy": 3},
                "changes": {},
            },
            "goblin_1": {"team": "red"},
        },
    }
    hero = Character.objects.get(pk=HERO)
    assert (hero.xp, InventoryItem.objects.get(pk=POTION).quantity) == (10, 4)
    assert not holders()
    assert "combat_session_id" not in account(redis_client, HERO)


@pytest.mark.parametrize("is_settled", [False, True])
def test_finished_twice_is_the_same_document(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID, is_settled: bool
) -> None:
    outcome = won(changes={"xp_gained": 10})
    assert engine.finish_combat_sync(begun, outcome) is Receipt.ACCEPTED
    if is_settled:
        result_of(begun)
    # Another second would be another document.
    redis_client.hset(redis_keys.session(begun), "heartbeat", 1)
    spelt = json.dumps({"participants": {"101": {"changes": {"xp_gained": 10.0}}}})
    spelt = spelt[:-1] + ',"meta":' + json.dumps(outcome["meta"]) + "}"

    assert engine.finish_combat_sync(begun, spelt) is Receipt.DUPLICATE

    with pytest.raises(PayloadConflict):
        engine.finish_combat_sync(begun, won(changes={"xp_gained": 11}))
    result_of(begun)
    assert Character.objects.get(pk=HERO).xp == 10


def test_a_fight_that_goes_on_meanwhile_is_looked_at_again(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    """A use between the two round trips is in the document, or refused."""

    async def race() -> tuple[list[object], object]:
        own = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
        uses = [own.use_item(begun, HERO, POTION, str(n)) for n in range(4)]
        ends = own.finish_combat(begun, won())
        *used, ended = await asyncio.gather(*uses, ends, return_exceptions=True)
        await own.aclose()
        return list(used), ended

    used, ended = asyncio.run(race())

    assert ended is Receipt.ACCEPTED
    part = result_of(begun)["participants"]["101"]
    counted = sum(e["qty"] for e in part["changes"].get("items_consumed", []))
    assert counted == sum(isinstance(one, int) for one in used)
    assert all(isinstance(one, int | CombatFinished) for one in used)


@pytest.mark.parametrize(
    ("outcome", "path"),
    [
        ({"meta": {"finish_reason": "victory"}, "participants": {"999": {}}}, "999"),
        ({"participants": {}}, "meta"),
        (won(changes={"items_consumed": []}), "items_consumed"),
        (won(changes={"xp": 5}), "changes.xp"),
        (won(changes=5), "changes"),
        ({**won(), "participants": {"101": 5}}, "participants.101"),
        ({**won(), "participants": []}, "participants"),
        ({**won(), "session_id": str(new_session_id())}, "session_id"),
        ("[]", ""),
        (b'{"meta":{},"meta":{}}', "meta"),
    ],
)
def test_an_outcome_against_the_contract_records_nothing(
    engine: SyncDispatcher,
    redis_client: redis.Redis,
    begun: UUID,
    outcome: Any,
    path: str,
) -> None:
    with pytest.raises(PayloadInvalid) as refused:
        engine.finish_combat_sync(begun, outcome)

    assert any(path in fault["path"] for fault in refused.value.errors)
    assert live(redis_client, begun)["status"] == "active"
    assert engine.finish_combat_sync(begun, won()) is Receipt.ACCEPTED


def test_a_container_that_is_not_readable_makes_no_document(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    redis_client.hset(redis_keys.session(begun), "actor:101", '{"hp": -5}')

    with pytest.raises(PayloadInvalid, match=r"actor:101\.hp"):
        engine.finish_combat_sync(begun, won())


def test_nothing_happens_in_a_fight_that_is_finished(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    engine.use_item_sync(begun, HERO, POTION, "a")
    engine.finish_combat_sync(begun, won())
    calls: list[Callable[[], object]] = [
        lambda: engine.use_item_sync(begun, HERO, POTION, "b"),
        lambda: engine.join_sync(begun, {RIVAL: None}),
        lambda: engine.leave_sync(begun, HERO),
    ]

    for call in calls:
        with pytest.raises(CombatFinished):
            call()

    assert engine.use_item_sync(begun, HERO, POTION, "a") == 4


def test_a_signed_finish_is_settled_and_a_forged_one_is_not_signed(
    redis_client: redis.Redis, begun: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = EngineKeys.parse("game:a-secret-of-sixteen")
    monkeypatch.setattr(settings, "SETTLEMENT_ENGINE_KEYS", keys)
    outcome = won(changes={"xp_gained": 10})
    with closing(
        SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL, keys=keys)
    ) as engine:
        engine.finish_combat_sync(begun, outcome)
        # Whoever reaches Redis puts another document in the place of the engine's.
        forged = json.dumps(make_document(session_id=begun))
        theirs: dict[Any, Any] = {
            "raw": forged,
            "sha256": "0" * 64,
            "signature": "game:0",
        }
        redis_client.hset(redis_keys.result(begun), mapping=theirs)

        with pytest.raises(PayloadConflict):
            engine.finish_combat_sync(begun, outcome)

    result_of(begun)
    assert Character.objects.get(pk=HERO).xp == 10


def test_every_call_has_an_asynchronous_twin(
    redis_client: redis.Redis, begun: UUID
) -> None:
    async def play() -> None:
        engine = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL, timeout=1)
        assert await engine.use_item(begun, HERO, POTION, "a") == 4
        assert [*(await engine.join(begun, {RIVAL: "red"})).actors] == [RIVAL]
        await engine.leave(begun, RIVAL)
        assert await engine.finish_combat(begun, won()) is Receipt.ACCEPTED
        await engine.aclose()

    add_character(RIVAL)
    asyncio.run(play())

    assert [*result_of(begun)["participants"]] == ["101", "102"]
