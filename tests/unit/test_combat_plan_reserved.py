"""What a fight has on its belts yields to that fight alone."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.savers.combat.fingerprint import fingerprint
from persistence.savers.combat.rows import Catalogue, Combat, Plan
from tests.unit.builders import (
    CATALOGUE,
    SWORD,
    item,
    plan,
    session,
    solo,
    world,
)
from tests.unit.strategies import BOUNDED, Tables, batches, planned, tables

OWN, OTHER = session(1), session(2)
DRINK = [{"inventory_id": 7, "qty": 2}]


def shortages(done: Plan) -> list[tuple[Any, ...]]:
    return [
        (str(d.code), d.inventory_id, d.item_template_id, d.wanted, d.applied)
        for d in done.discrepancies
    ]


def test_another_fight_takes_nothing_from_it() -> None:
    start = world([item(7, reserved_session_id=OTHER)])

    done = plan(solo(1, items_consumed=DRINK), start)

    assert shortages(done) == [("item_reserved", 7, None, 2, 0)]
    assert not done.updated
    assert len(done.ledger) == 1, "the rest of the fight is settled"


def test_its_own_fight_does() -> None:
    start = world([item(7, reserved_session_id=OWN)])

    done = plan(solo(1, items_consumed=DRINK), start)

    assert shortages(done) == []
    assert done.updated[7].quantity == 3


def test_a_row_that_its_own_fight_empties_is_remembered_without_the_fight() -> None:
    start = world([item(7, quantity=2, reserved_session_id=OWN)])

    done = plan(solo(1, items_consumed=DRINK), start)

    (move,) = done.ledger[0].items
    assert done.removed == {7}
    assert "reserved_session_id" not in move["image"]


def test_where_shortages_fail_the_other_fight_fails() -> None:
    start = world([item(7, reserved_session_id=OTHER)])

    done = plan(solo(1, items_consumed=DRINK), start, fail_on_shortage=True)

    failure = done.failures[OWN]
    assert failure.code == "shortage"
    assert "item_reserved" in failure.detail


@pytest.mark.parametrize("target", ["inventory:7", f"item:{SWORD.id}"])
def test_another_fight_does_not_wear_it(target: str) -> None:
    held = item(7, SWORD, is_equipped=True, slot="belt_1", reserved_session_id=OTHER)

    done = plan(solo(1, durability_loss={target: 5}), world([held]))

    assert [(code, wanted) for code, *_, wanted, _ in shortages(done)] == [
        ("item_reserved", 5)
    ]
    assert not done.updated


def test_wear_by_template_goes_to_a_row_that_no_other_fight_holds() -> None:
    held = item(7, SWORD, is_equipped=True, slot="belt_1", reserved_session_id=OTHER)
    free = item(8, SWORD, is_equipped=True, slot="hand")

    done = plan(solo(1, durability_loss={f"item:{SWORD.id}": 5}), world([held, free]))

    assert shortages(done) == []
    assert set(done.updated) == {8}


def test_once_its_fight_is_settled_a_later_one_of_the_batch_may_take_it() -> None:
    first, second = (
        solo(2, seconds=1, items_consumed=DRINK),
        solo(1, seconds=2, items_consumed=DRINK),
    )

    done = plan([second, first], world([item(7, reserved_session_id=OTHER)]))

    assert shortages(done) == []
    assert done.updated[7].quantity == 1


def test_a_fight_that_fails_keeps_what_it_holds() -> None:
    failing = solo(2, seconds=1, items_gained=[{"item_template_id": "no", "qty": 1}])
    later = solo(1, seconds=2, items_consumed=DRINK)

    done = plan([failing, later], world([item(7, reserved_session_id=OTHER)]))

    assert set(done.failures) == {OTHER}
    assert shortages(done) == [("item_reserved", 7, None, 2, 0)]


def test_a_preview_sees_who_holds_it_where_that_is_another_fight() -> None:
    def seen(**over: Any) -> str:
        fight: Combat = solo(1, items_consumed=DRINK)
        start = world([item(7, **over)])
        return fingerprint(fight.payload, 1, start, Catalogue(CATALOGUE))

    assert seen() == seen(reserved_session_id=OWN)
    assert seen() != seen(reserved_session_id=OTHER)


@given(start=tables(), combats=batches(), data=st.data())
@BOUNDED
def test_what_a_fight_outside_of_the_batch_holds_is_never_touched(
    start: Tables, combats: list[Combat], data: st.DataObject
) -> None:
    ids = [row.id for row in start.items]
    held = data.draw(st.sets(st.sampled_from(ids))) if ids else set()
    for row in start.items:
        if row.id in held:
            row.reserved_session_id = session(99)
    before = {row.id: (row.quantity, row.durability) for row in start.items}

    done, end = planned(combats, start)

    after = {row.id: row for row in end.items}
    assert not held & done.removed
    for row_id in held:
        row = after[row_id]
        gained = sum(
            move["delta"]
            for line in done.ledger
            for move in line.items
            if move["inventory_id"] == row_id and move["kind"] == "gained"
        )
        quantity, durability = before[row_id]
        assert (row.quantity - gained, row.durability) == (quantity, durability)


@given(combats=batches())
@BOUNDED
def test_the_order_in_which_a_batch_is_given_does_not_matter(
    combats: list[Combat],
) -> None:
    holders = [c.session_id for c in combats]
    starts = [item(n, reserved_session_id=h) for n, h in enumerate(holders, 1)]
    plans = [
        plan(list(order), world([row.copy() for row in starts]))
        for order in permutations(combats[:3])
    ]

    assert all(shortages(p) == shortages(plans[0]) for p in plans)
