"""XP, gold, vitals, the ledger, the order of combats and their isolation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from persistence.contract.changes import MAX_BIGINT
from persistence.contract.payload import validate
from persistence.savers.combat.rows import Combat
from tests.unit.builders import (
    HIDE,
    at,
    character,
    combat,
    item,
    participant,
    plan,
    sample,
    session,
    solo,
    world,
)

UNKNOWN_LOOT = [{"name": "Шкура дракона", "qty": 1}]


def test_the_sample_changes_exactly_the_documented_amounts() -> None:
    payload = validate(sample())
    fight = Combat(payload.session_id, payload.finished_at, payload, revision=2)
    sword = item(56, character_id=101, quantity=1, is_equipped=True, durability=80)
    sword.item_template_id = "sword_epic"
    start = world(
        [item(55, is_equipped=True, slot="belt_1"), sword],
        [character(101, xp=1000, gold=50)],
    )

    made = plan(fight, start)

    after = made.characters[101]
    assert (after.xp, after.gold, after.hp, after.energy) == (2250, 150, 450, 20)
    assert {
        row.id: (row.quantity, row.durability) for row in made.updated.values()
    } == {
        55: (3, None),
        56: (1, 75),
    }
    assert [(r.item_template_id, r.quantity) for r in made.inserted.values()] == [
        ("wolf_hide", 1)
    ]
    (line,) = made.ledger
    assert (line.session_id, line.revision, line.character_id) == (
        payload.session_id,
        2,
        101,
    )
    assert (line.xp_delta, line.gold_delta, line.xp_after, line.gold_after) == (
        1250,
        100,
        2250,
        150,
    )
    assert [move["kind"] for move in line.items] == ["consumed", "worn", "gained"]
    assert (made.removed, made.discrepancies, made.failures) == (set(), [], {})


def test_a_player_who_got_nothing_has_a_ledger_line_of_zeros() -> None:
    made = plan(solo(), world())

    (line,) = made.ledger
    assert (line.xp_delta, line.gold_delta, line.items) == (0, 0, [])
    assert (line.xp_after, line.gold_after) == (500, 50)


def test_every_player_has_one_line_in_the_order_of_ids() -> None:
    parts: dict[int | str, Any] = {c: participant(xp_gained=c) for c in (1000, 9, 101)}

    made = plan(combat(1, parts), world([], [character(c) for c in (9, 101, 1000)]))

    assert [(line.character_id, line.xp_delta) for line in made.ledger] == [
        (9, 9),
        (101, 101),
        (1000, 1000),
    ]


def test_ai_takes_no_part() -> None:
    parts: dict[int | str, Any] = {
        101: participant(xp_gained=1),
        -102: participant(xp_gained=0),
        "goblin_1": {"name": "Гоблин", "state_snapshot": {"hp": 0, "energy": 0}},
    }
    start = world([], [character(101), character(102)])

    made = plan(combat(1, parts), start)

    assert made.characters.keys() == {101}
    assert [line.character_id for line in made.ledger] == [101]
    assert start.characters[102] == character(102)


def test_a_fight_among_ai_changes_nothing() -> None:
    made = plan(combat(1, {"goblin_1": {}, "-5": {}}), world())

    assert (made.ledger, made.characters, made.failures) == ([], {}, {})


def test_a_penalty_is_taken_from_the_purse() -> None:
    made = plan(solo(gold_gained=-50), world([], [character(gold=50)]))

    assert (made.characters[101].gold, made.discrepancies) == (0, [])
    assert made.ledger[0].gold_delta == -50


def test_a_penalty_beyond_the_purse_takes_what_is_there() -> None:
    made = plan(solo(xp_gained=7, gold_gained=-80), world([], [character(gold=50)]))

    assert (made.characters[101].gold, made.characters[101].xp) == (0, 507)
    assert (made.ledger[0].gold_delta, made.ledger[0].gold_after) == (-50, 0)
    (shortage,) = made.discrepancies
    assert (shortage.code, shortage.wanted, shortage.applied) == (
        "gold_shortage",
        80,
        50,
    )
    assert (shortage.inventory_id, shortage.item_template_id) == (None, None)


def test_a_penalty_one_coin_beyond_the_purse_takes_what_is_there() -> None:
    made = plan(solo(gold_gained=-51), world([], [character(gold=50)]))

    assert (made.characters[101].gold, made.ledger[0].gold_after) == (0, 0)
    (shortage,) = made.discrepancies
    assert (shortage.wanted, shortage.applied) == (51, 50)


def test_where_shortages_fail_a_penalty_beyond_the_purse_fails() -> None:
    made = plan(
        solo(xp_gained=7, gold_gained=-80),
        world([], [character(gold=50)]),
        fail_on_shortage=True,
    )

    (failure,) = made.failures.values()
    assert failure.code == "shortage"
    assert "gold 50 of 80" in failure.detail
    assert made.characters == {}


@pytest.mark.parametrize("field", ["xp", "gold"])
def test_a_balance_beyond_bigint_is_out_of_range(field: str) -> None:
    start = character(**{field: MAX_BIGINT - 5})

    full = plan(solo(**{f"{field}_gained": 5}), world([], [start]))
    over = plan(solo(**{f"{field}_gained": 6}), world([], [start]))

    assert getattr(full.characters[101], field) == MAX_BIGINT
    (failure,) = over.failures.values()
    assert failure.code == "out_of_range"
    assert failure.detail.startswith(f"{field} would exceed")


NEW = {"hp": 30, "energy": 40}


@pytest.mark.parametrize(
    ("vitals_at", "by", "written"),
    [
        (None, None, True),
        (at(-1), session(99), True),
        (at(0), session(4), True),
        (at(0), None, True),
        (at(0), session(5), False),
        (at(0), session(6), False),
        (at(1), session(1), False),
        (at(1), None, False),
    ],
    ids=[
        "first",
        "older",
        "tie, lower session",
        "tie, no session",
        "itself",
        "tie, higher session",
        "newer",
        "newer, no session",
    ],
)
def test_the_newest_snapshot_of_vitals_stands(
    vitals_at: datetime | None, by: UUID | None, written: bool
) -> None:
    before = character(hp=1, energy=2, vitals_at=vitals_at, vitals_session_id=by)

    made = plan(solo(5, state_snapshot=NEW, xp_gained=3), world([], [before]))

    after = made.characters[101]
    assert after.xp == 503
    assert (after.hp, after.energy) == ((30, 40) if written else (1, 2))
    assert (after.vitals_at, after.vitals_session_id) == (
        (at(0), session(5)) if written else (vitals_at, by)
    )


def test_without_a_snapshot_vitals_stay() -> None:
    before = character(hp=1, vitals_at=at(-5), vitals_session_id=session(2))

    after = plan(solo(5), world([], [before])).characters[101]

    assert (after.hp, after.vitals_at, after.vitals_session_id) == (
        1,
        at(-5),
        session(2),
    )


def test_vitals_of_a_batch_are_those_of_its_newest_combat() -> None:
    fights = [
        solo(n, seconds=s, state_snapshot={"hp": n, "energy": n})
        for n, s in ((1, 5), (3, 9), (2, 9), (4, 7))
    ]

    after = plan(fights, world()).characters[101]

    assert (after.hp, after.vitals_at, after.vitals_session_id) == (
        3,
        at(9),
        session(3),
    )


def test_combats_are_settled_by_finish_then_by_session() -> None:
    fights = [
        solo(9, seconds=1),
        solo(1, seconds=2),
        solo(8, seconds=0),
        solo(3, seconds=1),
    ]

    made = plan(fights, world())

    assert [line.session_id for line in made.ledger] == [
        session(8),
        session(3),
        session(9),
        session(1),
    ]


def test_an_earlier_reward_pays_a_later_penalty_of_the_batch() -> None:
    penalty = solo(1, seconds=1, gold_gained=-80)
    reward = solo(2, seconds=0, gold_gained=40)

    made = plan([penalty, reward], world([], [character(gold=50)]))

    assert [line.gold_after for line in made.ledger] == [90, 10]
    assert made.discrepancies == []


def test_balances_after_run_through_the_batch() -> None:
    fights = [solo(n, seconds=n, xp_gained=n, gold_gained=-n) for n in (1, 2, 3)]

    made = plan(fights, world())

    assert [(line.xp_after, line.gold_after) for line in made.ledger] == [
        (501, 49),
        (503, 47),
        (506, 44),
    ]
    assert (made.characters[101].xp, made.characters[101].gold) == (506, 44)


def test_unknown_characters_fail_the_combat_and_are_all_named() -> None:
    parts: dict[int | str, Any] = {c: participant(xp_gained=9) for c in (101, 998, 999)}
    start = world()

    made = plan(combat(1, parts), start)

    (failure,) = made.failures.values()
    assert failure.code == "unknown_character"
    assert failure.detail == "no such character: 998, 999"
    assert (made.ledger, made.characters) == ([], {})
    assert start.characters == {101: character()}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (solo(2, 999, seconds=1, xp_gained=7), "unknown_character"),
        (
            combat(
                2,
                {
                    101: participant(
                        xp_gained=7,
                        gold_gained=-9,
                        items_consumed=[{"inventory_id": 55, "qty": 5}],
                        durability_loss={"inventory:56": 3},
                        items_gained=[{"item_template_id": HIDE.id, "qty": 2}],
                        state_snapshot=NEW,
                    ),
                    102: participant(loot_obtained=UNKNOWN_LOOT),
                },
                seconds=1,
            ),
            "unknown_item",
        ),
        (
            combat(
                2,
                {
                    101: participant(items_consumed=[{"inventory_id": 55, "qty": 9}]),
                    102: participant(xp_gained=7),
                },
                seconds=1,
            ),
            "out_of_range",
        ),
    ],
    ids=["unknown character", "unknown item", "overflow"],
)
def test_a_failing_combat_takes_nothing_else_down_and_leaves_no_trace(
    broken: Combat, code: str
) -> None:
    def rows() -> Any:
        return world(
            [item(55), item(56, durability=9)],
            [character(101), character(102, xp=MAX_BIGINT)],
        )

    sound = [
        solo(n, seconds=n - 1, xp_gained=n, items_consumed=[{"inv_id": 55, "qty": 1}])
        for n in (1, 3)
    ]

    made, clean = plan([*sound, broken], rows()), plan(sound, rows())

    assert [(i, f.code) for i, f in made.failures.items()] == [(session(2), code)]
    assert (made.ledger, made.discrepancies) == (clean.ledger, [])
    assert (made.characters, made.updated) == (clean.characters, clean.updated)
    assert (made.inserted, made.removed) == ({}, set())


def test_a_batch_of_nothing_is_an_empty_plan() -> None:
    made = plan([], world([item(55)]))

    assert (made.ledger, made.characters, made.updated, made.failures) == (
        [],
        {},
        {},
        {},
    )
