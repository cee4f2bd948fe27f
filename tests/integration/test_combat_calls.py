"""use_item, join, leave and finish_combat: what the engine need not write itself."""

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

from combat_history.models import Character, CombatHistory, InventoryItem
from persistence.belts.tasks import assemble_belts
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.errors import (
    CharactersUnknown,
    CombatFinished,
    CombatInProgress,
    CombatNotRegistered,
    DispatchFailed,
    ItemNotOnBelt,
    ItemSpent,
    NotInCombat,
    PayloadConflict,
    PayloadInvalid,
    PersistenceError,
    UseIdReused,
)
from persistence.contract.signing import EngineKeys
from persistence.dispatcher import SyncDispatcher
from persistence.engine.answers import Belts
from persistence.engine.handoff import Receipt
from persistence.tasks import settle_inbox
from tests.support.belts import add_fighter, container, holders
from tests.support.documents import HERO, POTION, make_document
from tests.support.engine import account, live
from tests.support.factories import add_character, add_item
from tests.support.ids import new_session_id
from tests.support.silence import fall_silent, sweep_and_settle

RIVAL, FRIEND = 102, 103
STRANGER = 55_555

LONG_ID = 2**63 - 5

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture
def begun(engine: SyncDispatcher, fight: UUID) -> UUID:
    """A fight of the hero, blue, whose belt is loaded: five potions."""
    engine.start_combat_sync(fight, [HERO], {HERO: "blue"})
    assemble_belts(str(fight))
    return fight


def consumed(client: redis.Redis, fight: UUID, char_id: int = HERO) -> dict[int, int]:
    entries = container(client, fight, char_id)["consumed"]
    return {entry["inventory_id"]: entry["qty"] for entry in entries}


def on_belt(client: redis.Redis, fight: UUID, char_id: int = HERO) -> dict[int, int]:
    items = container(client, fight, char_id)["belt_items"]
    return {item["inventory_id"]: item["quantity"] for item in items}


def result_of(fight: UUID) -> Document:
    settle_inbox()
    row = CombatHistory.objects.get(pk=fight)
    assert row.settlement_status == "processed", row.failure_detail
    payload: Document = row.result_payload
    return payload


def won(**hero: Any) -> Document:
    return {
        "meta": {"winner_team": "blue", "finish_reason": "victory"},
        "participants": {HERO: hero} if hero else {},
    }


# --- use_item


def test_a_use_is_one_less_on_the_belt_and_one_more_consumed(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    assert engine.use_item_sync(begun, HERO, POTION, "a") == 4
    assert engine.use_item_sync(begun, HERO, POTION, "b") == 3

    actor = container(redis_client, begun, HERO)
    assert on_belt(redis_client, begun) == {POTION: 3}
    assert actor["consumed"] == [
        {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": 2}
    ]
    assert actor["team"] == "blue"


def test_a_use_counts_once_by_its_id(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    first = [engine.use_item_sync(begun, HERO, POTION, "a") for _ in range(2)]
    engine.use_item_sync(begun, HERO, POTION, "b")

    assert [*first, engine.use_item_sync(begun, HERO, POTION, "a")] == [4, 4, 4]
    with pytest.raises(UseIdReused):
        engine.use_item_sync(begun, HERO, POTION + 1, "a")
    assert consumed(redis_client, begun) == {POTION: 2}


def test_nothing_is_used_below_zero(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    for number in range(5):
        engine.use_item_sync(begun, HERO, POTION, str(number))

    with pytest.raises(ItemSpent):
        engine.use_item_sync(begun, HERO, POTION, "one more")

    assert on_belt(redis_client, begun) == {POTION: 0}
    assert consumed(redis_client, begun) == {POTION: 5}


def test_many_at_once_use_what_is_there(redis_client: redis.Redis, begun: UUID) -> None:
    async def use_up() -> list[object]:
        engine = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
        uses = [engine.use_item(begun, HERO, POTION, f"u{n}") for n in range(12)]
        told = await asyncio.gather(*uses, return_exceptions=True)
        await engine.aclose()
        return list(told)

    told = asyncio.run(use_up())

    assert sorted(n for n in told if isinstance(n, int)) == [0, 1, 2, 3, 4]
    assert sum(isinstance(n, ItemSpent) for n in told) == 7
    assert consumed(redis_client, begun) == {POTION: 5}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        pytest.param(
            '{ "consumed" : [ ] ,"note":[],"x":{"belt_items":[1,"]}"]},\n'
            '"belt_items":[{"quantity" : 7,"inventory_id":%d,"slot":"a\\"]"}]}',
            '{ "consumed" : [ {"inventory_id":%d,"qty":1}] ,"note":[],'
            '"x":{"belt_items":[1,"]}"]},\n'
            '"belt_items":[{"quantity" : 6,"inventory_id":%d,"slot":"a\\"]"}]}',
            id="whatever stands beside it",
        ),
        pytest.param(
            '{"belt_items":[{"inventory_id":%d,"item_template_id":"p\\u00e9",'
            '"quantity":1}]}',
            '{"belt_items":[{"inventory_id":%d,"item_template_id":"p\\u00e9",'
            '"quantity":0}],"consumed":[{"inventory_id":%d,'
            '"item_template_id":"p\\u00e9","qty":1}]}',
            id="nothing consumed before",
        ),
        pytest.param(
            '{"consumed":[{"inv_id":7,"qty":1},{"qty":2,"inv_id":%d}],'
            '"belt_items":[{"inventory_id":7,"quantity":1},'
            '{"inventory_id":%d,"quantity":3}]}',
            '{"consumed":[{"inv_id":7,"qty":1},{"qty":3,"inv_id":%d}],'
            '"belt_items":[{"inventory_id":7,"quantity":1},'
            '{"inventory_id":%d,"quantity":2}]}',
            id="the engine's own entries",
        ),
    ],
)
def test_the_rest_of_a_container_stays_as_the_engine_wrote_it(
    engine: SyncDispatcher,
    redis_client: redis.Redis,
    fight: UUID,
    text: str,
    changed: str,
) -> None:
    engine.start_combat_sync(fight, [HERO])
    given = text % ((LONG_ID,) * text.count("%d"))
    redis_client.hset(redis_keys.session(fight), "actor:101", given)

    engine.use_item_sync(fight, HERO, LONG_ID, "a")

    expected = changed % ((LONG_ID,) * changed.count("%d"))
    assert live(redis_client, fight)["actor:101"] == expected


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '"x"',
        '{"belt_items":[{"inventory_id":55,"quantity":"5"}]}',
        '{"belt_items":[{"inventory_id":55,"quantity":5}],"consumed":{}}',
    ],
)
def test_of_a_container_that_is_not_readable_nothing_is_used(
    engine: SyncDispatcher, redis_client: redis.Redis, fight: UUID, text: str
) -> None:
    engine.start_combat_sync(fight, [HERO])
    redis_client.hset(redis_keys.session(fight), "actor:101", text)

    with pytest.raises(DispatchFailed, match="not readable"):
        engine.use_item_sync(fight, HERO, POTION, "a")

    assert live(redis_client, fight)["actor:101"] == text


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda e, f: e.use_item_sync(f, HERO, 999, "a"), ItemNotOnBelt),
        (lambda e, f: e.use_item_sync(f, RIVAL, POTION, "a"), NotInCombat),
        (lambda e, f: e.leave_sync(f, RIVAL), NotInCombat),
        (lambda e, _: e.use_item_sync(new_session_id(), HERO, 1, "a"), None),
        (lambda e, _: e.join_sync(new_session_id(), {RIVAL: "red"}), None),
        (lambda e, _: e.leave_sync(new_session_id(), HERO), None),
        (lambda e, _: e.finish_combat_sync(new_session_id(), won()), None),
        (lambda e, f: e.use_item_sync(f, HERO, POTION, ""), ValueError),
        (lambda e, f: e.use_item_sync(f, HERO, 0, "a"), ValueError),
        (lambda e, f: e.join_sync(f, {0: None}), ValueError),
        (lambda e, f: e.join_sync(f, {}), ValueError),
    ],
)
def test_what_cannot_be_is_told_by_its_type(
    engine: SyncDispatcher,
    redis_client: redis.Redis,
    begun: UUID,
    use: Callable[[SyncDispatcher, UUID], object],
    error: type[Exception] | None,
) -> None:
    before = live(redis_client, begun)

    with pytest.raises(error or CombatNotRegistered):
        use(engine, begun)

    assert live(redis_client, begun) == before


def test_a_container_changes_as_the_seeds_engine_does_it(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    actor = engine.start_combat_sync(begun, [HERO]).actors[HERO]

    actor.belt_items[0].quantity -= 1
    actor.consumed.append({"inv_id": POTION, "qty": 1})  # type: ignore[arg-type]
    actor.hp = 12
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        actor.belt_items[0].quantity -= 5
    redis_client.hset(redis_keys.session(begun), "actor:101", actor.model_dump_json())

    assert engine.use_item_sync(begun, HERO, POTION, "a") == 3
    engine.finish_combat_sync(begun, won())
    hero = result_of(begun)["participants"]["101"]
    assert hero["changes"]["items_consumed"] == [{"inventory_id": POTION, "qty": 2}]


def test_an_abandoned_fight_takes_what_was_used(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    engine.use_item_sync(begun, HERO, POTION, "a")
    engine.use_item_sync(begun, HERO, POTION, "b")
    fall_silent(redis_client, begun)

    sweep_and_settle()

    assert InventoryItem.objects.get(pk=POTION).quantity == 3
    assert CombatHistory.objects.get(pk=begun).settlement_status == "processed"


# --- join and leave


def test_who_joins_is_in_with_his_belt(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    (row,) = add_fighter(RIVAL)
    redis_client.hset("ac:102", "scenario_session_id", str(new_session_id()))
    joined = engine.join_sync(begun, {RIVAL: "red"})
    assert joined.belts is Belts.LATE

    assemble_belts(str(begun))
    joined = engine.join_sync(begun, {RIVAL: "blue"})

    assert (joined.belts, joined.belts_loaded) == (Belts.LOADED, True)
    assert [*joined.actors] == [RIVAL]
    assert joined.actors[RIVAL].team == "red"
    assert on_belt(redis_client, begun, RIVAL) == {row: 5}
    assert holders() == {POTION: begun, row: begun}
    assert json.loads(live(redis_client, begun)["participants"]) == [HERO, RIVAL]
    assert account(redis_client, RIVAL)["combat_session_id"] == str(begun)
    assert "scenario_session_id" not in account(redis_client, RIVAL)
    assert engine.use_item_sync(begun, RIVAL, row, "a") == 4


def test_all_who_join_enter_or_none_does(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    other = new_session_id()
    engine.start_combat_sync(other, [FRIEND])
    before = live(redis_client, begun)

    with pytest.raises(CombatInProgress) as refused:
        engine.join_sync(begun, {RIVAL: "red", FRIEND: "red"})

    assert (refused.value.char_id, refused.value.session_id) == (FRIEND, str(other))
    assert live(redis_client, begun) == before
    assert not account(redis_client, RIVAL)


def test_whoever_joins_and_does_not_exist_is_shown_out(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    engine.start_combat_sync(begun, [HERO])
    add_fighter(RIVAL)
    # As the call does before it waits: a worker is quicker than it.
    joining = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL, timeout=8)
    told: list[PersistenceError] = []

    async def join() -> None:
        call = asyncio.create_task(joining.join(begun, {RIVAL: "red", STRANGER: "red"}))
        while str(STRANGER) not in live(redis_client, begun)["participants"]:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(in_a_thread, assemble_belts, str(begun))
        try:
            await call
        except CharactersUnknown as error:
            told.append(error)
        await joining.aclose()

    asyncio.run(join())

    (error,) = told
    assert isinstance(error, CharactersUnknown)
    assert error.char_ids == [STRANGER]
    assert json.loads(live(redis_client, begun)["participants"]) == [HERO, RIVAL]
    assert "combat_session_id" not in account(redis_client, STRANGER)
    assert engine.start_combat_sync(begun, [HERO, RIVAL]).belts is Belts.LOADED
    engine.finish_combat_sync(begun, won())
    assert [*result_of(begun)["participants"]] == ["101", "102"]


def in_a_thread(task: Callable[[str], object], session_id: str) -> None:
    from django.db import connection

    try:
        task(session_id)
    finally:
        connection.close()


def test_who_leaves_is_free_and_what_he_used_is_settled_with_the_fight(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    add_item(HERO, "hp_pot_small", 60, quantity=3, is_equipped=True, slot="belt_2")
    redis_client.hset("ac:101", "hp", 7)
    assemble_belts(str(begun))
    engine.join_sync(begun, {RIVAL: "red"})
    add_character(RIVAL)
    engine.use_item_sync(begun, HERO, POTION, "a")

    engine.leave_sync(begun, HERO)
    engine.leave_sync(begun, HERO)
    assemble_belts(str(begun))

    assert "combat_session_id" not in account(redis_client, HERO)
    assert json.loads(live(redis_client, begun)["participants"]) == [RIVAL]
    assert holders() == {POTION: begun}
    with pytest.raises(NotInCombat):
        engine.use_item_sync(begun, HERO, POTION, "b")
    assert engine.use_item_sync(begun, HERO, POTION, "a") == 4
    second = new_session_id()
    engine.start_combat_sync(second, [HERO])
    redis_client.hset("ac:101", "hp", 99)

    engine.finish_combat_sync(begun, won(ui_report={"fled": True}))

    part = result_of(begun)["participants"]["101"]
    assert (part["is_winner"], part["team"]) == (False, "blue")
    assert "state_snapshot" not in part
    assert InventoryItem.objects.get(pk=POTION).quantity == 4
    assert account(redis_client, HERO)["hp"] == "99"
    assert account(redis_client, HERO)["combat_session_id"] == str(second)


def test_an_abandoned_fight_takes_what_a_leaver_used(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    engine.use_item_sync(begun, HERO, POTION, "a")
    engine.leave_sync(begun, HERO)
    redis_client.hset("ac:101", mapping={"hp": 99, "vitals_at": 0})
    fall_silent(redis_client, begun)

    sweep_and_settle()

    assert InventoryItem.objects.get(pk=POTION).quantity == 4
    assert account(redis_client, HERO)["hp"] == "99"


def test_who_comes_back_finds_what_he_had_not_used(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID
) -> None:
    engine.use_item_sync(begun, HERO, POTION, "a")
    engine.leave_sync(begun, HERO)
    assert on_belt(redis_client, begun) == {}
    assemble_belts(str(begun))

    engine.join_sync(begun, {HERO: "blue"})
    assemble_belts(str(begun))

    assert on_belt(redis_client, begun) == {POTION: 4}
    assert engine.use_item_sync(begun, HERO, POTION, "b") == 3
    assert json.loads(live(redis_client, begun)["participants"]) == [HERO]


def test_belts_that_another_fight_holds_are_told(
    engine: SyncDispatcher, redis_client: redis.Redis, begun: UUID, fight: UUID
) -> None:
    engine.use_item_sync(begun, HERO, POTION, "a")
    engine.leave_sync(begun, HERO)
    second = new_session_id()
    engine.start_combat_sync(second, [HERO])
    assemble_belts(str(second))

    started = engine.start_combat_sync(second, [HERO])

    assert (started.belts, started.belts_loaded) == (Belts.HELD, True)
    (held,) = started.held[HERO]
    assert (held.inventory_id, held.session_id) == (POTION, begun)


# --- finish_combat


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
