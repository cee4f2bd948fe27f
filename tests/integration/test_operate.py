"""POST /api/operations: at once, as a whole or not at all, and once by its op_id."""

from __future__ import annotations

import json
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError

from combat_history.actions.operate import operate as apply
from combat_history.models import Character, InventoryItem, LedgerLine, Operation
from persistence.belts import reservations
from persistence.contract.document import Document
from persistence.contract.errors import OperationRefused
from persistence.contract.operate import Operation as Asked
from tests.support.api import OTHER_TOKEN, problem
from tests.support.documents import HERO, PELT, POTION, SWORD
from tests.support.factories import add_character, add_item
from tests.support.operating import operate, operation, post
from tests.support.parallel import in_threads
from tests.support.trace import statements_in, traced
from tests.support.undoing import world_now

pytestmark = pytest.mark.usefixtures("world", "api")

MERCHANT = 102
PELTS = 900


@pytest.fixture(autouse=True)
def _merchant(world: None) -> None:
    """Has gold and ten pelts; the hero has potions and no gold."""
    add_character(MERCHANT, gold=100)
    add_item(MERCHANT, PELT, PELTS, quantity=10)


def trade(op_id: str = "trade-1", *, gold: int = 30, pelts: int = 4) -> Document:
    """The hero sells two potions for gold and pelts."""
    sold = {"inventory_id": POTION, "item_template_id": "hp_pot_small", "qty": 2}
    return operation(
        op_id,
        "Trade at the market",
        c101={
            "gold_gained": gold,
            "items_consumed": [sold],
            "items_gained": [{"item_template_id": PELT, "qty": pelts}],
        },
        c102={
            "gold_gained": -gold,
            "items_consumed": [{"inventory_id": PELTS, "qty": pelts}],
            "items_gained": [{"item_template_id": "hp_pot_small", "qty": 2}],
        },
    )


def pieces() -> dict[tuple[int, str], int]:
    rows = InventoryItem.objects.values_list(
        "character_id", "item_template_id", "quantity"
    )
    return {(owner, template): quantity for owner, template, quantity in rows}


def purses() -> dict[int, int]:
    return dict(Character.objects.values_list("pk", "gold"))


def test_a_trade_moves_both_sides_and_tells_what_they_have() -> None:
    told = operate(trade())

    assert purses() == {HERO: 30, MERCHANT: 70}
    assert pieces() == {
        (HERO, "hp_pot_small"): 3,
        (HERO, "sword_epic"): 1,
        (HERO, PELT): 4,
        (MERCHANT, PELT): 6,
        (MERCHANT, "hp_pot_small"): 2,
    }
    assert (told.op_id, told.duplicate) == ("trade-1", False)
    assert {id_: one.gold for id_, one in told.characters.items()} == purses()
    moved = [(m["item_template_id"], m["after"]) for m in told.characters[HERO].items]
    assert moved == [("hp_pot_small", 3), (PELT, 4)]


def test_it_stands_in_the_ledger_and_among_the_operations() -> None:
    told = operate(trade())

    row = Operation.objects.get(pk="trade-1")
    assert (row.id, row.reason) == (told.id, "Trade at the market")
    assert (row.caller, row.undone_at) == ("engine", None)
    lines = LedgerLine.objects.filter(session_id=told.id).order_by("character_id")
    assert [(line.kind, line.gold_delta, line.gold_after) for line in lines] == [
        ("operation", 30, 30),
        ("operation", -30, 70),
    ]
    assert InventoryItem.objects.filter(origin_session_id=told.id).count() == 2


def test_the_same_again_is_told_what_came_of_it_and_moves_nothing() -> None:
    first = operate(trade(gold=100))
    before = world_now()

    # The merchant could not pay again.
    again = operate(trade(gold=100))

    assert again.duplicate
    assert again.model_copy(update={"duplicate": False}) == first
    assert world_now() == before
    assert Operation.objects.count() == 1


def test_the_same_in_another_spelling_is_the_same() -> None:
    first = operate(trade())
    asked = trade()
    asked["characters"] = dict(reversed(asked["characters"].items()))
    consumed = asked["characters"]["102"]["items_consumed"][0]
    consumed["inv_id"] = consumed.pop("inventory_id")
    asked["characters"]["102"]["gold_gained"] = -30.0

    again = operate(asked)

    assert (again.id, again.duplicate) == (first.id, True)


def test_another_operation_of_that_name_is_a_conflict() -> None:
    operate(trade())
    before = world_now()

    problem(post(trade(gold=29)), HTTPStatus.CONFLICT, "operation_conflict")
    # Also one that would have been refused by itself.
    problem(post(trade(gold=9000)), HTTPStatus.CONFLICT, "operation_conflict")

    assert world_now() == before


@pytest.mark.parametrize(
    ("over", "code", "wanted", "there"),
    [
        ({"gold": 101}, "gold_shortage", 101, 100),
        ({"pelts": 11}, "item_shortage", 11, 10),
    ],
)
def test_what_is_not_there_refuses_all_of_it(
    over: dict[str, Any], code: str, wanted: int, there: int
) -> None:
    before = world_now()

    told = problem(post(trade(**over)), HTTPStatus.CONFLICT, "shortage")

    assert world_now() == before
    assert not Operation.objects.exists()
    (short,) = told.shortages or []
    assert (short.code, short.character_id) == (code, MERCHANT)
    assert (short.wanted, short.there) == (wanted, there)
    # Its name is still free.
    assert not operate(trade()).duplicate


def test_what_a_fight_holds_is_refused_until_it_is_over(fight: UUID) -> None:
    reservations.assemble(fight, [HERO])
    before = world_now()

    told = problem(post(trade()), HTTPStatus.CONFLICT, "item_reserved")

    assert [one.inventory_id for one in told.shortages or ()] == [POTION]
    assert world_now() == before
    # What the fight does not hold is free.
    operate(operation("mend", c101={"durability_loss": {f"inventory:{SWORD}": 5}}))


@pytest.mark.parametrize(
    ("characters", "code"),
    [
        ({"c103": {"gold_gained": 1}}, "unknown_character"),
        (
            {"c102": {"items_gained": [{"item_template_id": "nothing", "qty": 1}]}},
            "unknown_item",
        ),
        ({"c102": {"items_consumed": [{"inventory_id": 1, "qty": 1}]}}, "shortage"),
        (
            {"c102": {"items_consumed": [{"inventory_id": POTION, "qty": 1}]}},
            "shortage",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    characters: dict[str, Document], code: str
) -> None:
    before = world_now()
    asked = operation("quest-7", "Quest", **{"c101": {"xp_gained": 5}, **characters})

    problem(post(asked), HTTPStatus.CONFLICT, code)

    assert world_now() == before


BODIES: list[Any] = [
    "[]",
    "{",
    '{"op_id": "a", "op_id": "b", "reason": "r", "characters": {"101": {}}}',
    {**trade(), "op_id": ""},
    {**trade(), "op_id": "admin:1"},
    {**trade(), "op_id": "a\ud800"},
    {**trade(), "op_id": "a" * 101},
    {**trade(), "reason": ""},
    {**trade(), "reason": "a\0"},
    {**trade(), "characters": {}},
    {**trade(), "characters": {"goblin": {}}},
    {**trade(), "characters": {"0101": {}}},
    {**trade(), "characters": {str(2**63): {}}},
    {**trade(), "characters": {"101": {"gold_gaind": 1}}},
    {**trade(), "characters": {"101": {"xp_gained": -1}}},
    {**trade(), "more": 1},
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_breaks_the_contract_is_refused(body: Any) -> None:
    response = post(body)

    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, response.content
    assert json.loads(response.content)["errors"]
    assert not Operation.objects.exists()


def test_a_token_without_the_scope_may_not() -> None:
    problem(post(trade(), OTHER_TOKEN), HTTPStatus.FORBIDDEN, "missing_scope")


def test_the_same_at_once_is_applied_once() -> None:
    answers: list[bool] = []

    def call() -> None:
        answers.append(apply(Asked.read(trade()), "engine").duplicate)

    in_threads(*[call] * 4)

    assert sorted(answers) == [False, True, True, True]
    assert purses() == {HERO: 30, MERCHANT: 70}


def test_trades_in_opposite_order_do_not_deadlock() -> None:
    give = operation("give-{}", c101={"gold_gained": 1}, c102={"gold_gained": -1})
    back = operation("back-{}", c102={"gold_gained": 1}, c101={"gold_gained": -1})

    def calls(asked: Document) -> Any:
        def call() -> None:
            for number in range(20):
                named = {**asked, "op_id": asked["op_id"].format(number)}
                # The hero may have nothing to give yet.
                with suppress(OperationRefused):
                    apply(Asked.read(named), "engine")

        return call

    in_threads(calls(back), calls(give))

    assert sum(purses().values()) == 100
    assert LedgerLine.objects.filter(kind="operation").count() % 2 == 0


def test_it_costs_as_many_statements_for_twenty_as_for_two(tmp_path: Path) -> None:
    for number in range(200, 220):
        add_character(number, gold=99)
        add_item(number, PELT, 2000 + number, quantity=99)

    def sent(op_id: str, char_ids: range) -> int:
        each = {
            "gold_gained": -1,
            "items_gained": [{"item_template_id": PELT, "qty": 1}],
        }
        parts = {
            f"c{id_}": {
                **each,
                "items_consumed": [{"inventory_id": 2000 + id_, "qty": 1}],
            }
            for id_ in char_ids
        }
        asked = Asked.read(operation(op_id, "Guild", **parts))
        with traced(tmp_path / op_id):
            apply(asked, "engine")
        return sum(statements_in(tmp_path / op_id).values())

    # The first ones of a connection also prepare.
    for number in range(8):
        sent(f"warm-{number}", range(200, 202))
    assert sent("two", range(200, 202)) == sent("twenty", range(200, 220)) <= 12


def test_what_was_applied_never_changes() -> None:
    operate(trade())
    row = Operation.objects.filter(pk="trade-1")

    changes: list[dict[str, Any]] = [{"reason": "b"}, {"document": {}}, {"answer": {}}]
    for change in changes:
        with pytest.raises(IntegrityError, match="never changes"):
            row.update(**change)
    with pytest.raises(IntegrityError, match="never changes"):
        row.delete()
    row.update(reason="")
