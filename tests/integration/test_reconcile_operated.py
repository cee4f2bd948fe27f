"""Each kind of corruption around operations of the game is found as what it is."""

from __future__ import annotations

import pytest

from combat_history.actions.operate import operate
from combat_history.reconcile.operated_checks import OPERATED_CHECKS
from persistence.contract.operate import Operation as Asked
from tests.integration.test_reconcile_tables import delete, insert_line, plant, update
from tests.support.documents import HERO, PELT, POTION, SWORD
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.operating import operation
from tests.support.reconciling import found

FRIEND, WITNESS = 102, 103

PLANTS: list[object] = []


def planted(kind: str, statement: str) -> None:
    PLANTS.append(pytest.param(kind, statement, id=f"{kind}: {statement[:50]}"))


def of_quest(and_: str = "") -> str:
    return f"session_id = (SELECT id FROM operations WHERE op_id = 'quest') {and_}"


def asked_otherwise(path: str, value: str) -> str:
    document = f"jsonb_set(document, '{{characters,{path}}}', '{value}')"
    return update("operations", "op_id = 'quest'", f"document = {document}")


@pytest.fixture(autouse=True)
def quest(world: None) -> None:
    """The hero gives what the friend gains; the witness only stands there."""
    add_character(FRIEND, gold=9)
    add_character(WITNESS)
    asked = operation(
        "quest",
        "The lost sheep",
        c101={
            "xp_gained": 5,
            "gold_gained": 7,
            "items_consumed": [{"inventory_id": POTION, "qty": 2}],
            "durability_loss": {f"inventory:{SWORD}": 3},
        },
        c102={
            "gold_gained": -7,
            "items_gained": [{"item_template_id": PELT, "qty": 2}],
        },
        c103={},
    )
    operate(Asked.read(asked), "engine")


planted(
    "operation_line_missing",
    delete("settlement_ledger", of_quest(f"AND character_id = {WITNESS}")),
)
planted(
    "operation_line_stray",
    update(
        "operations",
        "op_id = 'quest'",
        f"document = document #- '{{characters,{WITNESS}}}'",
    ),
)
planted("xp_differs", asked_otherwise(f"{HERO},xp_gained", "6"))
planted("gold_differs", asked_otherwise(f"{FRIEND},gold_gained", "-8"))
planted("consumed_differs", asked_otherwise(f"{HERO},items_consumed,0,qty", "1"))
planted(
    "wear_differs", asked_otherwise(f"{HERO},durability_loss,inventory:{SWORD}", "2")
)
planted("gained_differs", asked_otherwise(f"{FRIEND},items_gained,0,qty", "3"))


@pytest.mark.parametrize(("kind", "statement"), PLANTS)
def test_a_corruption_is_found_as_what_it_is(kind: str, statement: str) -> None:
    assert found() == {}
    plant(statement)
    assert set(found()) == {kind}


def test_a_line_of_no_operation_is_found() -> None:
    plant(insert_line(new_session_id(), WITNESS).replace("settlement'", "operation'"))

    assert set(found()) == {"operation_line_stray"}


def test_every_check_has_its_plant() -> None:
    kinds = {param.values[0] for param in PLANTS}  # type: ignore[attr-defined]
    assert {check.code for check in OPERATED_CHECKS} <= kinds
