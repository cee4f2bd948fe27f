"""Properties of items: granted, kept apart, moved, worn on belts, and undone."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from django.db import connection
from django.db.models.functions import Now

from combat_history.models import (
    CombatHistory,
    InventoryItem,
    LedgerLine,
    ParkedOperation,
)
from persistence.belts import reservations
from persistence.contract import redis_keys
from persistence.contract.changes import MAX_PROPERTIES_BYTES
from persistence.contract.document import Document
from persistence.tasks import task_sync_state
from tests.conftest import Settle
from tests.support.documents import (
    HERO,
    PELT,
    SAMPLE_END,
    hero_fight,
    make_document,
    op,
)
from tests.support.factories import add_character, add_item
from tests.support.ids import new_session_id
from tests.support.lookups import id_of
from tests.support.reconciling import found, loot, used
from tests.support.undoing import permitted, undo, world_now

pytestmark = pytest.mark.usefixtures("world")

NONE = {"item_template_id": PELT, "qty": 1, "properties": {}}
FIRE = {"affix": {"fire": 3}, "sockets": ["ruby", None]}
BLADE = "sword_epic"


def rolled(template_id: str, qty: int = 1, **properties: Any) -> Document:
    return {**loot(template_id, qty), "properties": properties or FIRE}


def rows(template_id: str) -> list[tuple[int, Any]]:
    found = InventoryItem.objects.filter(
        item_template_id=template_id, is_equipped=False
    )
    return list(found.order_by("pk").values_list("quantity", "properties"))


def movements(kind: str = "settlement") -> list[Any]:
    lines = LedgerLine.objects.filter(kind=kind).order_by("pk")
    return [move for line in lines for move in line.items]


def operate(redis_client: redis.Redis, *operations: Document) -> None:
    key = redis_keys.inventory_delta(HERO)
    redis_client.rpush(key, *(json.dumps(operation) for operation in operations))
    task_sync_state("inventory", HERO)


def test_they_are_kept_on_rows_that_join_no_others(settle_here: Settle) -> None:
    settle_here(
        hero_fight(items_gained=[loot(PELT, 2), rolled(PELT, 3), rolled(BLADE, 2)]),
        hero_fight(
            end_timestamp=SAMPLE_END + 1,
            items_gained=[
                rolled(PELT, 4),
                loot(PELT, 5),
                {**loot(PELT), "properties": {}},
            ],
        ),
    )

    assert rows(PELT) == [(8, None), (3, FIRE), (4, FIRE)]
    assert rows(BLADE) == [(1, FIRE), (1, FIRE)]
    told = [(move["delta"], move.get("properties")) for move in movements()]
    assert told[:4] == [(2, None), (3, FIRE), (1, FIRE), (1, FIRE)]
    assert found() == {}


def test_too_many_bytes_fail_the_combat(settle_here: Settle) -> None:
    room = MAX_PROPERTIES_BYTES - len('{"a":""}')
    fits = hero_fight(items_gained=[rolled(PELT, a="x" * room)])
    exceeds = hero_fight(items_gained=[rolled(PELT, a="x" * (room + 1))])

    settle_here(fits, exceeds)

    failed = CombatHistory.objects.get(settlement_status="failed")
    assert failed.pk == id_of(exceeds)
    assert "properties exceed 2048 bytes of JSON" in (failed.failure_detail or "")


def test_an_undo_takes_back_no_other_piece_of_the_kind(settle_here: Settle) -> None:
    plain, fiery = (
        hero_fight(items_gained=[loot(BLADE)]),
        hero_fight(end_timestamp=SAMPLE_END + 1, items_gained=[rolled(BLADE)]),
    )
    settle_here(plain, fiery)
    given = InventoryItem.objects.get(properties=FIRE)
    settle_here(
        hero_fight(end_timestamp=SAMPLE_END + 2, items_gained=[rolled(BLADE, roll=7)]),
        hero_fight(end_timestamp=SAMPLE_END + 3, items_consumed=[used(given.pk, 1)]),
    )

    result = undo(id_of(fiery), permitted(), "record")

    assert result.undo is not None
    assert [s.code for s in result.undo.shortages] == ["undo_item_short"]
    assert rows(BLADE) == [(1, None), (1, {"roll": 7})]
    assert found() == {}


def test_an_undo_finds_the_pieces_in_another_row_of_theirs(
    settle_here: Settle, redis_client: redis.Redis
) -> None:
    document = hero_fight(items_gained=[rolled(PELT, 3)])
    settle_here(document)
    row = InventoryItem.objects.get(properties=FIRE)
    operate(redis_client, op("part", "split", inventory_id=row.pk, qty=1))
    assert rows(PELT) == [(2, FIRE), (1, FIRE)]

    undo(id_of(document), permitted())

    assert rows(PELT) == []
    assert found() == {}


def test_what_was_used_up_returns_with_its_properties(settle_here: Settle) -> None:
    settle_here(hero_fight(items_gained=[rolled(PELT, 3)]))
    row = InventoryItem.objects.get(properties=FIRE)
    before = world_now()
    part, rest = (
        hero_fight(end_timestamp=SAMPLE_END + n, items_consumed=[used(row.pk, n)])
        for n in (1, 2)
    )
    settle_here(part, rest)
    assert rows(PELT) == []
    admin = permitted()

    # In this order the first finds no row to return to, and makes one.
    undo(id_of(part), admin)
    assert rows(PELT) == [(1, FIRE)]
    undo(id_of(rest), admin)

    assert rows(PELT) == [(2, FIRE), (1, FIRE)] or rows(PELT) == [(3, FIRE)]
    assert world_now()[0][0][:2] == before[0][0][:2]
    assert found() == {}


def test_operations_move_them_and_merge_only_what_is_alike(
    settle_here: Settle, redis_client: redis.Redis
) -> None:
    settle_here(hero_fight(items_gained=[loot(PELT, 2), rolled(PELT, 3)]))
    plain = InventoryItem.objects.get(item_template_id=PELT, properties__isnull=True)
    fiery = InventoryItem.objects.get(properties=FIRE)

    operate(
        redis_client,
        op("part", "split", inventory_id=fiery.pk, qty=2),
        op("mixed", "merge", inventory_id=fiery.pk, into=plain.pk),
        op("more", "add", item_template_id=PELT, qty=4),
        op("some", "remove", item_template_id=PELT, qty=5),
    )

    assert rows(PELT) == [(1, None), (1, FIRE), (2, FIRE)]
    parked = ParkedOperation.objects.get()
    assert (parked.op_id, parked.code) == ("mixed", "not_allowed")
    assert "differ in properties" in parked.detail

    # What is parked holds up whoever needs the same rows.
    ParkedOperation.objects.update(resolution="discarded", resolved_at=Now())
    operate(redis_client, op("alike", "merge", inventory_id="op:part", into=fiery.pk))
    assert rows(PELT) == [(1, None), (3, FIRE)]
    assert found() == {}


def test_a_belt_shows_them_and_the_fight_uses_them(settle_here: Settle) -> None:
    add_character(102)
    flask = add_item(
        102,
        "hp_pot_small",
        is_equipped=True,
        slot="belt_1",
        quantity=2,
        properties=FIRE,
    )
    session_id = new_session_id()

    belts = reservations.assemble(session_id, [102]).belts

    assert [(i.inventory_id, i.properties) for i in belts[102]] == [(flask.pk, FIRE)]
    settle_here(
        make_document(
            {
                102: {
                    "is_winner": True,
                    "changes": {"items_consumed": [used(flask.pk, 1)]},
                }
            },
            session_id=session_id,
        )
    )
    flask.refresh_from_db()
    assert (flask.quantity, flask.properties) == (1, FIRE)
    assert flask.reserved_session_id is None


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("properties_differ", "UPDATE inventory SET properties = NULL"),
        (
            "gained_differs",
            "UPDATE settlement_ledger SET items = "
            "replace(items::text, '\"fire\": 3', '\"fire\": 4')::jsonb",
        ),
    ],
)
def test_reconcile_finds_properties_that_nobody_gave(
    settle_here: Settle, kind: str, statement: str
) -> None:
    settle_here(hero_fight(items_gained=[rolled(PELT)]))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE settlement_ledger DISABLE TRIGGER USER")
        cursor.execute(f"{statement} WHERE {WHERE[statement.split()[1]]}")
        cursor.execute("ALTER TABLE settlement_ledger ENABLE TRIGGER USER")

    assert kind in found()


WHERE = {
    "inventory": f"item_template_id = '{PELT}'",
    "settlement_ledger": "kind = 'settlement'",
}
