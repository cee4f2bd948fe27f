"""What a plan says of what fell short or could not be: all of it, to the letter."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from persistence.contract.errors import DiscrepancyCode
from persistence.savers.combat.fingerprint import fingerprint
from persistence.savers.combat.plan import plan_batch
from persistence.savers.combat.rows import (
    MAX_INT,
    MAX_PIECES,
    Catalogue,
    Combat,
    Discrepancy,
    World,
)
from tests.unit.builders import (
    CATALOGUE,
    POTION,
    SWORD,
    character,
    item,
    plan,
    session,
    solo,
    world,
)

REVISION = 3


def told(code: DiscrepancyCode, **over: object) -> Discrepancy:
    values: dict[str, Any] = {
        "session_id": session(1),
        "revision": REVISION,
        "character_id": 101,
        "code": code,
        "inventory_id": 7,
        "item_template_id": POTION.id,
        "wanted": 9,
        "applied": 0,
    }
    return Discrepancy(**{**values, **over})


USED = [
    {"inventory_id": 7, "item_template_id": POTION.id, "qty": 4},
    {"inventory_id": 7, "item_template_id": POTION.id, "qty": 5},
]


@pytest.mark.parametrize(
    ("parts", "rows", "expected"),
    [
        (
            {"gold_gained": -51},
            [],
            told(
                DiscrepancyCode.GOLD_SHORTAGE,
                inventory_id=None,
                item_template_id=None,
                wanted=51,
                applied=50,
            ),
        ),
        ({"items_consumed": USED}, [], told(DiscrepancyCode.ITEM_GONE)),
        (
            {"items_consumed": USED},
            [item(7, character_id=102)],
            told(DiscrepancyCode.ITEM_NOT_OWNED),
        ),
        (
            {"items_consumed": USED},
            [item(7, SWORD)],
            told(DiscrepancyCode.ITEM_MISMATCH),
        ),
        (
            {"items_consumed": USED},
            [item(7, reserved_session_id=session(2))],
            told(DiscrepancyCode.ITEM_RESERVED),
        ),
        (
            {"items_consumed": USED},
            [item(7)],
            told(DiscrepancyCode.ITEM_SHORTAGE, applied=5),
        ),
        (
            {"durability_loss": {"inventory:7": 9}},
            [item(7)],
            told(DiscrepancyCode.NO_DURABILITY),
        ),
        (
            {"durability_loss": {f"item:{SWORD.id}": 9}},
            [item(7, SWORD)],
            told(
                DiscrepancyCode.NOT_EQUIPPED,
                inventory_id=None,
                item_template_id=SWORD.id,
            ),
        ),
    ],
    ids=lambda value: str(value.code) if isinstance(value, Discrepancy) else "",
)
def test_a_shortage_says_whose_of_what_and_how_much(
    parts: dict[str, Any], rows: list[Any], expected: Discrepancy
) -> None:
    fight = replace(solo(**parts), revision=REVISION)
    made = plan(fight, world(rows, [character(), character(102)]))
    assert made.discrepancies == [expected]


def test_where_shortages_fail_all_of_them_are_told() -> None:
    parts: dict[str, Any] = {
        "gold_gained": -80,
        "items_consumed": [
            {"inventory_id": 7, "qty": 2},
            {"inventory_id": 8, "item_template_id": POTION.id, "qty": 3},
        ],
    }
    made = plan(solo(**parts), world(), fail_on_shortage=True)
    failure = made.failures[session(1)]
    assert (failure.code, failure.detail) == (
        "shortage",
        "gold_shortage of character 101: gold 50 of 80; "
        "item_gone of character 101: 7 0 of 2; "
        f"item_gone of character 101: {POTION.id} 0 of 3",
    )
    assert failure.session_id == str(session(1))


@pytest.mark.parametrize("usual", [True, False])
@pytest.mark.parametrize("own", [True, False, None])
def test_what_a_replay_asked_for_goes_before_the_setting(
    own: bool | None, usual: bool
) -> None:
    fight = replace(solo(gold_gained=-51), fail_on_shortage=own)
    made = plan(fight, world(), fail_on_shortage=usual)
    assert bool(made.failures) is (usual if own is None else own)


def test_shortages_are_recorded_unless_told_otherwise() -> None:
    made = plan_batch([solo(gold_gained=-51)], world(), Catalogue([]), count())
    assert (made.failures, len(made.discrepancies)) == ({}, 1)


def seen(fight: Combat, start: World) -> str:
    catalogue = Catalogue(CATALOGUE)
    return fingerprint(fight.payload, fight.revision, start, catalogue)


def test_what_was_previewed_runs_while_nothing_moved() -> None:
    fight = replace(solo(xp_gained=1, **loot(POTION.id, 2)), revision=REVISION)
    previewed = replace(fight, fingerprint=seen(fight, world([item(7)])))
    made = plan(previewed, world([item(7)]))
    assert (made.failures, made.updated[7].quantity) == ({}, 7)


@pytest.mark.parametrize(
    "moved",
    [
        world([item(7, quantity=4)]),
        world([item(7)], [character(gold=51)]),
        world(),
    ],
)
def test_what_was_previewed_is_refused_where_something_moved(moved: World) -> None:
    fight = replace(solo(xp_gained=1, **loot(POTION.id, 2)), revision=REVISION)
    previewed = replace(fight, fingerprint=seen(fight, world([item(7)])))
    failure = plan(previewed, moved).failures[session(1)]
    assert (failure.code, failure.detail) == (
        "state_moved",
        "balances, items or templates changed since the preview",
    )


def test_a_preview_of_another_revision_is_refused() -> None:
    fight = solo(xp_gained=1)
    previewed = replace(fight, fingerprint=seen(fight, world()), revision=REVISION)
    assert plan(previewed, world()).failures[session(1)].code == "state_moved"


def loot(template_id: str, qty: int) -> dict[str, Any]:
    return {"items_gained": [{"item_template_id": template_id, "qty": qty}]}


def test_loot_beyond_its_bound_is_told_by_name() -> None:
    made = plan(solo(**loot(SWORD.id, MAX_PIECES + 1)), world())
    detail = made.failures[session(1)].detail
    assert detail == f"{SWORD.id} would exceed {MAX_PIECES}"
    full = item(7, quantity=MAX_INT)
    made = plan(solo(**loot(POTION.id, 1)), world([full]))
    detail = made.failures[session(1)].detail
    assert detail == f"{POTION.id} would exceed {MAX_INT}"


def test_loot_up_to_its_bound_is_given() -> None:
    made = plan(solo(**loot(SWORD.id, MAX_PIECES)), world())
    assert len(made.inserted) == MAX_PIECES
    made = plan(solo(**loot(POTION.id, 1)), world([item(7, quantity=MAX_INT - 1)]))
    assert made.updated[7].quantity == MAX_INT
