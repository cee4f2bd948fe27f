"""`persistence.testing`: one story, told to it and to the whole system, ends alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
import redis
from django.conf import settings

from combat_history.models import Character, CombatHistory, InventoryItem, NamedBalance
from persistence.contract.errors import PersistenceError
from persistence.dispatcher import SyncDispatcher
from persistence.engine.api import Api
from persistence.testing.documents import Fight
from persistence.testing.settlement import Settlement
from tests.support.api import TOKEN
from tests.support.documents import HERO
from tests.support.factories import (
    add_balance,
    add_character,
    add_item,
    add_template,
)
from tests.support.ids import new_session_id
from tests.support.waiting import wait_until
from tests.support.web import running_web

FRIEND, NOBODY = 102, 999
POTION, RING = "hp_pot_small", "ring"

Told = list[Any]


class Narrator:
    """Makes calls, and writes down what each one said."""

    def __init__(self, door: SyncDispatcher, potions: int, settle: Callable[[], Any]):
        self.door = door
        self.potions = potions
        self.settle = settle
        self.told: Told = []

    def call(self, name: str, *args: Any, **named: Any) -> None:
        try:
            said = getattr(self.door, f"{name}_sync")(*args, **named)
        except PersistenceError as error:
            shortages = [
                {k: v for k, v in one.items() if k != "inventory_id"}
                for one in getattr(error, "shortages", [])
            ]
            said = (type(error).__name__, error.code, shortages)
        self.told.append((name, _in_words(said)))


def _in_words(said: Any) -> Any:
    if hasattr(said, "actors"):
        belts = {id_: _pieces(actor) for id_, actor in said.actors.items()}
        return str(said.belts), belts
    if hasattr(said, "op_id"):
        after = {
            id_: (one.xp, one.gold, one.balances, [m["after"] for m in one.items])
            for id_, one in said.characters.items()
        }
        return said.duplicate, after
    return said


def _pieces(actor: Any) -> list[int]:
    return [item.quantity for item in actor.belt_items]


def a_fight(narrator: Narrator) -> None:
    call, fight, other = narrator.call, new_session_id(), new_session_id()
    use = (fight, HERO, narrator.potions)
    call("start_combat", fight, [HERO], {HERO: "blue"})
    call("start_combat", fight, [HERO])
    call("use_item", *use, "turn-1")
    call("use_item", *use, "turn-1")
    call("use_item", fight, HERO, narrator.potions + 1000, "turn-1")
    call("use_item", fight, HERO, narrator.potions + 1000, "turn-2")
    call("operate", "early", {HERO: _without(narrator.potions)}, reason="Shop")
    call("start_combat", other, [FRIEND, NOBODY])
    call("join", fight, {FRIEND: "red"})
    call("start_combat", other, [FRIEND])
    call("leave", fight, FRIEND)
    call("use_item", fight, FRIEND, narrator.potions, "turn-3")
    call("heartbeat", fight)
    won = Fight(fight).player(HERO, xp=10, gold=30, balances={"dust": 5})
    won.player(FRIEND, gold=-4)
    call("finish_combat", fight, won.outcome())
    call("finish_combat", fight, won.outcome())
    call("finish_combat", fight, Fight(fight).player(HERO, xp=11).outcome())
    call("leave", fight, HERO)
    narrator.settle()


def documents(narrator: Narrator) -> None:
    call = narrator.call
    taken = Fight(end_timestamp=1_735_460_000, note=1).player(HERO, loot={RING: 2})
    call("submit_combat", taken.document())
    call("submit_combat", {**taken.document(), "note": 1.0})
    call("submit_combat", {**taken.document(), "note": 2})
    call("submit_combat", {"session_id": str(new_session_id())})
    unknown = Fight().player(HERO, xp=1, loot={"nothing": 1})
    call("submit_combat", unknown.document())
    call("submit_combat", Fight().player(FRIEND, gold=-1000).document())
    narrator.settle()


def operations(narrator: Narrator) -> None:
    call = narrator.call
    gift = {HERO: {"gold_gained": -5}, FRIEND: {"gold_gained": 5}}
    call("operate", "gift", gift, reason="Birthday")
    call("operate", "gift", gift, reason="Birthday")
    call("operate", "gift", gift, reason="Christmas")
    call("operate", "dear", {HERO: {"gold_gained": -1000}}, reason="Shop")
    call("operate", "sold", {HERO: _without(narrator.potions)}, reason="Shop")
    call("operate", "made", {HERO: {"balances": {"fame": 1}}}, reason="Quest")
    call("operate", "felt", {HERO: {"luck": 1}}, reason="Quest")
    call("operate", "lost", {NOBODY: {"xp_gained": 1}}, reason="Quest")


def _without(row: int) -> dict[str, Any]:
    return {"gold_gained": 3, "items_consumed": [{"inventory_id": row, "qty": 1}]}


@contextmanager
def in_memory() -> Iterator[Settlement]:
    settlement = Settlement(settings.REDIS_URL)
    yield settlement
    settlement.close()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()


@pytest.fixture
def whole(
    transactional_db: None,
    redis_client: redis.Redis,
    worker: object,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SyncDispatcher]:
    """Worker and web server, behind the dispatcher that games have."""
    with running_web(tmp_path_factory.mktemp("web") / "uvicorn.log") as web:
        api = Api(web.address, TOKEN, 10)
        door = SyncDispatcher(
            settings.REDIS_URL, settings.BROKER_URL, timeout=10, api=api
        )
        yield door
        door.close()


def to_the_plugin(settlement: Settlement) -> tuple[Told, Any]:
    books = settlement.books
    books.add_item(POTION)
    books.add_item(RING, stackable=False)
    books.add_balance("dust")
    books.add_character(HERO)
    books.add_character(FRIEND, gold=3)
    potions = books.give(HERO, POTION, 5, slot="belt_1")
    narrator = Narrator(settlement.dispatcher, potions, settlement.settle_now)
    tell(narrator)
    verdicts = sorted(v.code or str(v.outcome) for v in settlement.verdicts.values())
    gold = [books.character(id_).gold for id_ in (HERO, FRIEND)]
    xp = books.character(HERO).xp
    pieces = [books.pieces(HERO, id_) for id_ in (POTION, RING)]
    return narrator.told, (verdicts, gold, xp, pieces, books.balance(HERO, "dust"))


def to_the_whole(door: SyncDispatcher) -> tuple[Told, Any]:
    add_template(POTION)
    add_template(RING, stackable=False)
    add_balance("dust")
    add_character(HERO)
    add_character(FRIEND, gold=3)
    belt = {"quantity": 5, "is_equipped": True, "slot": "belt_1"}
    potions = add_item(HERO, POTION, 55, **belt)
    narrator = Narrator(door, potions.pk, wait_settled)
    tell(narrator)
    rows = CombatHistory.objects.values_list("settlement_status", "failure_code")
    verdicts = sorted(code or status for status, code in rows)
    people = Character.objects.order_by("pk").values_list("gold", "xp")
    gold, xp = [gold for gold, _ in people], people[0][1]
    pieces = [
        sum(i.quantity for i in InventoryItem.objects.filter(item_template_id=id_))
        for id_ in (POTION, RING)
    ]
    dust = NamedBalance.objects.get(character_id=HERO).amount
    return narrator.told, (verdicts, gold, xp, pieces, dust)


def tell(narrator: Narrator) -> None:
    a_fight(narrator)
    documents(narrator)
    operations(narrator)


def wait_settled() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        wait_until(lambda: not client.zcard("combat:inbox"), "all is settled")


def test_one_story_ends_alike(whole: SyncDispatcher) -> None:
    with in_memory() as settlement:
        played, became = to_the_plugin(settlement)

    told, came_of_it = to_the_whole(whole)

    assert played == told
    assert became == came_of_it


def test_each_fault_is_told_as_in_production(redis_client: redis.Redis) -> None:
    with in_memory() as settlement:
        each_fault(settlement)


def each_fault(settlement: Settlement) -> None:
    books = settlement.books
    books.add_character(HERO, gold=9)
    narrator = Narrator(settlement.dispatcher, 0, settlement.settle_now)
    asked = {HERO: {"gold_gained": -1}}
    document = Fight(new_session_id()).player(HERO, gold=2).document()

    for fault in ("redis_down", "api_down", "answers_lost", "conflict"):
        with getattr(settlement.faults, fault)():
            narrator.call("submit_combat", {**document, "session_id": _id(fault)})
            narrator.call("operate", fault, asked, reason="Shop")
    settlement.settle_now()

    assert [
        said[0] if isinstance(said, tuple) else said for _, said in narrator.told
    ] == [
        *("HandoffFailed", False),
        *("accepted", "OperationUnanswered"),
        *("HandoffFailed", "OperationUnanswered"),
        *("PayloadConflict", "OperationConflict"),
    ]
    # Three documents stand, somebody else's too; and three operations.
    assert books.character(HERO).gold == 9 + 3 * 2 - 3
    assert len(settlement.conflicts) == 1
    settlement.assert_conserved({"gold": 3})


def _id(name: str) -> str:
    return str(UUID(bytes=name.ljust(16)[:16].encode()))
