"""Named balances in a combat's plan: what moves, what is short, what fails."""

from __future__ import annotations

import pytest

from persistence.contract.document import Document
from persistence.savers.combat.rows import BalanceRow, Plan
from tests.unit.builders import character, combat, participant, plan, solo, world

DUST, KARMA = "dust", "rating:karma"
BOUNDS = {DUST: (0, 100), KARMA: (-20, 20)}


def moving(
    *asked: dict[str, int], dust: int = 0, karma: int = 0, fail: bool = False
) -> Plan:
    """The plan of fights that ask for these, one after another."""
    amounts = {DUST: dust, KARMA: karma}
    named = {(101, id_): BalanceRow(amounts[id_], *BOUNDS[id_]) for id_ in BOUNDS}
    fights = [
        solo(number, seconds=number, balances=balances)
        for number, balances in enumerate(asked, 1)
    ]
    return plan(fights, world(balances=named), fail_on_shortage=fail)


def amounts(made: Plan) -> dict[str, int]:
    return {id_: row.amount for (_, id_), row in made.balances.items()}


def test_balances_move_beside_gold_and_stand_on_the_players_line() -> None:
    made = moving({DUST: 5, KARMA: -8}, dust=12)

    assert amounts(made) == {DUST: 17, KARMA: -8}
    (line,) = made.ledger
    assert line.balances == {
        DUST: {"delta": 5, "after": 17},
        KARMA: {"delta": -8, "after": -8},
    }


def test_what_nobody_moved_is_written_nowhere() -> None:
    made = moving({})

    assert made.balances == {}
    assert made.ledger[0].balances is None


def test_a_batch_writes_the_last_amount_once() -> None:
    made = moving({DUST: 5}, {DUST: -2}, {DUST: 40})

    assert amounts(made) == {DUST: 43}
    told = [line.balances for line in made.ledger]
    assert [t and t[DUST]["after"] for t in told] == [5, 3, 43]


@pytest.mark.parametrize(
    ("asked", "start", "left", "short"),
    [
        ({DUST: -8}, 5, 0, (8, 5)),
        ({KARMA: -8}, -15, -20, (8, 5)),
        # Below a floor that was raised since: nothing is taken, and nothing given.
        ({KARMA: -8}, -50, -50, (8, 0)),
    ],
)
def test_a_penalty_stops_at_the_floor_and_is_a_discrepancy(
    asked: dict[str, int], start: int, left: int, short: tuple[int, int]
) -> None:
    made = moving(asked, dust=start, karma=start)

    assert list(amounts(made).values()) == [left]
    (lack,) = made.discrepancies
    assert lack.code == "balance_shortage"
    assert lack.balance_id in asked
    assert (lack.wanted, lack.applied) == short


def test_a_shortage_fails_the_combat_where_shortages_fail() -> None:
    made = moving({DUST: -8}, dust=5, fail=True)

    (failure,) = made.failures.values()
    assert failure.code == "shortage"
    assert failure.detail == "balance_shortage of character 101: dust 5 of 8"
    assert made.balances == {}


def test_a_rise_from_below_the_floor_is_given_in_full() -> None:
    assert amounts(moving({KARMA: 8}, karma=-50)) == {KARMA: -42}


@pytest.mark.parametrize("dust", [96, 100, 200])
def test_more_than_the_maximum_fails_the_combat(dust: int) -> None:
    made = moving({DUST: 5}, dust=dust)

    (failure,) = made.failures.values()
    assert (failure.code, failure.detail) == (
        "out_of_range",
        "dust would exceed 100",
    )
    assert made.ledger == []


def test_an_unknown_balance_fails_the_combat_and_leaves_no_trace() -> None:
    parts: dict[int | str, Document] = {
        101: participant(balances={DUST: 5}),
        102: participant(balances={"x": 0}),
    }
    start = world(
        characters=[character(101), character(102)],
        balances={(101, DUST): BalanceRow(1, 0, 9)},
    )

    made = plan(combat(1, parts), start)

    (failure,) = made.failures.values()
    assert failure.code == "unknown_balance"
    assert "'x' of character 102" in failure.detail
    assert made.balances == {}
    assert start.balances == {(101, DUST): BalanceRow(1, 0, 9)}
