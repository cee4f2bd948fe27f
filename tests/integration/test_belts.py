"""Belts from the first blow to the settlement: reserved, copied, released."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
import redis
from django.contrib.auth.models import User

from combat_history.actions.replay import replay
from combat_history.models import CombatHistory, InventoryItem
from persistence.belts import reservations
from persistence.belts.belt import Held
from persistence.belts.containers import Stage
from persistence.belts.orphans import release_orphaned
from persistence.belts.tasks import assemble_belts
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.contract.payload import BeltItem
from persistence.engine.handoff import checked
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox, intents
from persistence.worker.transactions import open_cursor
from tests.support.belts import (
    add_fighter,
    begin,
    container,
    fail,
    holders,
    ids_on_belt,
    is_ready,
    result_of,
)
from tests.support.documents import HERO, POTION
from tests.support.factories import add_character, add_item, add_template
from tests.support.ids import new_session_id
from tests.support.parallel import character_locked

pytestmark = pytest.mark.usefixtures("world")


def test_belt_is_reserved_and_copied_into_its_container(
    redis_client: redis.Redis, fight: UUID
) -> None:
    for slot, row in {"belt_10": 60, "belt_2": 61, "belt_01": 62, "belts": 63}.items():
        add_item(HERO, "hp_pot_small", row, quantity=3, is_equipped=True, slot=slot)
    add_item(HERO, "hp_pot_small", 64, quantity=9, slot="belt_3")  # not equipped
    begin(redis_client, fight, HERO, note=[], hp=2**60)

    assembly = reservations.assemble(fight, [HERO])

    assert (assembly.stage, assembly.held, assembly.unknown) == (Stage.ACTIVE, [], [])
    assert ids_on_belt(assembly) == [POTION, 61, 60]
    assert holders() == {POTION: fight, 60: fight, 61: fight}
    actor = container(redis_client, fight, HERO)
    copied = [BeltItem.model_validate(item) for item in actor["belt_items"]]
    assert copied == assembly.belts[HERO]
    assert actor["belt_items"][0] == {
        "inventory_id": POTION,
        "item_template_id": "hp_pot_small",
        "slot": "belt_1",
        "quantity": 5,
    }
    assert (actor["consumed"], actor["note"], actor["hp"]) == ([], [], 2**60)
    assert is_ready(redis_client, fight)


def test_empty_belt_and_missing_containers(
    redis_client: redis.Redis, fight: UUID
) -> None:
    add_character(102)
    begin(redis_client, fight, 102)

    assembly = reservations.assemble(fight, [102, HERO, 103, 102])

    assert assembly.belts[102] == []
    assert ids_on_belt(assembly, HERO) == [POTION]
    assert assembly.unknown == [103]
    assert container(redis_client, fight, 102)["belt_items"] == []
    assert not redis_client.hexists(redis_keys.session(fight), f"actor:{HERO}")
    assert is_ready(redis_client, fight)


@pytest.mark.parametrize("text", ["{", "[]", "5", "\ud800"])
def test_unreadable_container_is_left_alone(
    redis_client: redis.Redis, fight: UUID, text: str
) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    key = begin(redis_client, fight, HERO)
    redis_client.hset(key, f"actor:{HERO}", raw)

    reservations.assemble(fight, [HERO])

    assert redis_client.hget(key, f"actor:{HERO}") == raw
    assert is_ready(redis_client, fight)


def test_assembling_twice_changes_nothing(
    redis_client: redis.Redis, fight: UUID
) -> None:
    key = begin(redis_client, fight, HERO)
    first = reservations.assemble(fight, [HERO])
    before = redis_client.hgetall(key)

    assert reservations.assemble(fight, [HERO]) == first

    assert redis_client.hgetall(key) == before
    assert holders() == {POTION: fight}


@pytest.mark.parametrize(
    "used",
    [
        {"belt_items": [{"inventory_id": POTION, "slot": "belt_1", "quantity": 0}]},
        {"consumed": [{"inv_id": POTION}]},
        {"consumed": "x"},
    ],
    ids=["on the belt", "by an unreadable list", "by no list"],
)
def test_belt_in_use_is_not_overwritten(
    redis_client: redis.Redis, fight: UUID, used: Document
) -> None:
    begin(redis_client, fight, HERO, **used)
    before = container(redis_client, fight, HERO)

    reservations.assemble(fight, [HERO])

    assert container(redis_client, fight, HERO) == before


@pytest.mark.parametrize(("used", "left"), [([2, 1], 2), ([9], 0)])
def test_a_belt_that_redis_had_forgotten_is_loaded_less_what_was_used(
    redis_client: redis.Redis, fight: UUID, used: list[int], left: int
) -> None:
    uses = [{"inv_id": POTION, "qty": qty} for qty in used]
    begin(redis_client, fight, HERO, consumed=uses)

    reservations.assemble(fight, [HERO])

    (item,) = container(redis_client, fight, HERO)["belt_items"]
    assert (item["inventory_id"], item["quantity"]) == (POTION, left)


@pytest.mark.parametrize("repeated", [1, 2])
def test_settlement_releases_what_it_leaves(
    redis_client: redis.Redis, fight: UUID, repeated: int
) -> None:
    other = new_session_id()
    (kept,) = add_fighter(102)
    begin(redis_client, fight, HERO)
    begin(redis_client, other, 102)
    reservations.assemble(fight, [HERO])
    reservations.assemble(other, [102])

    for _ in range(repeated):
        settle_combat(result_of(fight, used=2))

    assert InventoryItem.objects.get(pk=POTION).quantity == 3
    assert holders() == {kept: other}


def test_item_that_was_used_up_takes_its_reservation_along(
    redis_client: redis.Redis, fight: UUID
) -> None:
    begin(redis_client, fight, HERO)
    reservations.assemble(fight, [HERO])

    settle_combat(result_of(fight, used=5))

    assert not InventoryItem.objects.filter(pk=POTION).exists()
    assert holders() == {}


def test_failed_combat_keeps_its_belt_until_a_replay_settles_it(
    redis_client: redis.Redis, fight: UUID
) -> None:
    begin(redis_client, fight, HERO)
    reservations.assemble(fight, [HERO])

    fail(fight)
    release_orphaned()
    assert holders() == {POTION: fight}

    add_template("unheard_of")
    admin = User.objects.create_superuser("admin")
    replay([fight], actor=admin, reason="the catalogue entry was added")
    settle_inbox()
    assert CombatHistory.objects.get(pk=fight).settlement_status == "processed"
    assert holders() == {}


def test_release_frees_the_belts_of_these_combats_alone(
    redis_client: redis.Redis, fight: UUID
) -> None:
    other = new_session_id()
    (kept,) = add_fighter(102)
    first, second = add_fighter(103, items=2)
    begin(redis_client, fight, HERO, 103)
    begin(redis_client, other, 102)
    reservations.assemble(fight, [HERO, 103])
    reservations.assemble(other, [102])

    with open_cursor() as cursor:
        assert reservations.release(cursor, [fight]) == 3

    assert holders() == {kept: other}
    assert {first, second, POTION}.isdisjoint(holders())


def test_what_another_fight_holds_is_left_out_and_told(
    redis_client: redis.Redis, fight: UUID
) -> None:
    earlier = new_session_id()
    begin(redis_client, earlier, HERO)
    reservations.assemble(earlier, [HERO])
    add_item(HERO, "hp_pot_small", 60, is_equipped=True, slot="belt_2")
    begin(redis_client, fight, HERO)

    assembly = reservations.assemble(fight, [HERO])

    assert ids_on_belt(assembly) == [60]
    assert assembly.held == [Held(POTION, HERO, earlier)]
    assert holders() == {POTION: earlier, 60: fight}
    (item,) = container(redis_client, fight, HERO)["belt_items"]
    assert item["inventory_id"] == 60


@pytest.mark.parametrize("status", ["processed", "voided"])
def test_what_a_fight_that_is_over_still_holds_is_taken_over(
    redis_client: redis.Redis, fight: UUID, status: str
) -> None:
    """A fighter whom the result did not name, or a row restored by hand."""
    earlier = new_session_id()
    CombatHistory.objects.create(
        session_id=earlier,
        participant_ids=[],
        result_payload={},
        settlement_status=status,
        settled_at="2026-01-01T00:00:00Z" if status == "processed" else None,
    )
    InventoryItem.objects.filter(pk=POTION).update(reserved_session_id=earlier)
    begin(redis_client, fight, HERO)

    assert ids_on_belt(reservations.assemble(fight, [HERO])) == [POTION]
    assert holders() == {POTION: fight}


@pytest.mark.parametrize("recorded_in", ["redis", "postgresql", "cs:"])
def test_fight_that_is_over_reserves_nothing(
    redis_client: redis.Redis, fight: UUID, recorded_in: str
) -> None:
    key = begin(redis_client, fight, HERO)
    if recorded_in == "cs:":
        redis_client.hset(key, "status", "finished")
    else:
        inbox.record(checked(result_of(fight)))
    if recorded_in == "postgresql":
        settle_inbox()
        redis_client.flushdb()
        begin(redis_client, fight, HERO)

    assert reservations.assemble(fight, [HERO]).stage is Stage.OVER

    assert holders() == {}
    assert not redis_client.exists(redis_keys.belts_ready(fight))


def test_task_loads_the_belts_and_strikes_out_the_intent(
    redis_client: redis.Redis, fight: UUID
) -> None:
    begin(redis_client, fight, HERO)
    redis_client.hset(
        redis_keys.session(fight), "participants", json.dumps([HERO, "goblin_1", -5])
    )
    intents.note(redis_keys.BELTS, fight)

    assemble_belts(str(fight))

    assert holders() == {POTION: fight}
    assert container(redis_client, fight, HERO)["belt_items"]
    assert not redis_client.exists(redis_keys.INTENTS)


@pytest.mark.parametrize("state", ["none", "finished", "foreign"])
def test_task_of_a_fight_that_is_gone_has_nothing_to_do(
    redis_client: redis.Redis, fight: UUID, state: str
) -> None:
    if state == "finished":
        redis_client.hset(begin(redis_client, fight, HERO), "status", "finished")
    elif state == "foreign":
        redis_client.set(redis_keys.session(fight), "x")
    intents.note(redis_keys.BELTS, fight)

    assemble_belts(str(fight))

    assert holders() == {}
    assert not redis_client.exists(redis_keys.INTENTS)


def test_task_that_meets_a_locked_fighter_leaves_the_intent(
    redis_client: redis.Redis, fight: UUID
) -> None:
    begin(redis_client, fight, HERO)
    intents.note(redis_keys.BELTS, fight)

    with character_locked(HERO):
        assemble_belts(str(fight))

    assert redis_client.zcard(redis_keys.INTENTS) == 1
    assert holders() == {}
    assemble_belts(str(fight))
    assert redis_client.zcard(redis_keys.INTENTS) == 0
    assert holders() == {POTION: fight}
