"""Each kind of corruption around inventory operations, planted alone, is found."""

from __future__ import annotations

import pytest

from combat_history.reconcile.operation_checks import OPERATION_CHECKS
from tests.integration.test_reconcile_tables import delete, plant, update
from tests.support.documents import HERO, PELT, POTION, op
from tests.support.operations import (
    parked,
    queue,
    save,
)
from tests.support.reconciling import found, reconcile

PLANTS: list[object] = []
"""Parameters (kind of finding, statements that plant it)."""


@pytest.fixture(autouse=True)
def operated(world: None) -> None:
    """A new stack, a drink, a replayed operation, one that waits and one discarded."""
    queue(
        op("pelts", "add", item_template_id=PELT, qty=3),
        op("drink", "remove", inventory_id=POTION, qty=1),
        op("later", "remove", item_template_id=PELT, qty=4),
        op("waits", "unequip", inventory_id=9),
        op("never", "unequip", inventory_id=8),
        b"no operation",
    )
    save()
    queue(
        op("more", "add", item_template_id=PELT, qty=2),
        op("pelts", "add", item_template_id=PELT, qty=4),
    )
    save()
    plant(
        update("parked_operations", "op_id = 'later'", "retry_requested_at = now()"),
        update(
            "parked_operations",
            "op_id = 'never'",
            "resolved_at = now(), resolution = 'discarded'",
        ),
    )
    save()


def planted(kind: str, how: str, *statements: str) -> None:
    PLANTS.append(pytest.param(kind, statements, id=f"{kind}: {how}"))


def key(op_id: str) -> str:
    return f"key = 'inventory:{HERO}:{op_id}'"


def parked_row(op_id: str) -> str:
    return f"op_id = '{op_id}'"


DRINK_LINE = "items::text LIKE '%\"drink\"%'"

planted("moved_without_key", "key gone", delete("applied_operations", key("drink")))
planted(
    "moved_without_key",
    "of another player",
    update("applied_operations", key("drink"), "key = 'inventory:7:drink'"),
)
planted(
    "moved_twice",
    "same name in another line",
    update(
        "settlement_ledger",
        "items::text LIKE '%\"more\"%'",
        "items = replace(items::text, '\"more\"', '\"drink\"')::jsonb",
    ),
)
planted(
    "operation_pays",
    "gold",
    update("settlement_ledger", DRINK_LINE, "gold_delta = 5, gold_after = 5"),
    update(
        "settlement_ledger",
        f"kind = 'operation' AND NOT {DRINK_LINE}",
        "gold_after = 5",
    ),
    update("characters", f"id = {HERO}", "gold = 5"),
)
planted(
    "row_without_operation",
    "unknown name",
    update(
        "inventory",
        f"item_template_id = '{PELT}'",
        "origin_operation = 'inventory:101:unheard_of'",
    ),
)
planted(
    "parked_yet_applied",
    "still open",
    update(
        "parked_operations",
        parked_row("later"),
        "resolved_at = NULL, resolution = NULL, retry_requested_at = NULL",
    ),
)
planted(
    "parked_yet_applied",
    "discarded",
    update("parked_operations", parked_row("later"), "resolution = 'discarded'"),
)
planted(
    "resolved_unapplied",
    "discarded one",
    update("parked_operations", parked_row("never"), "resolution = 'applied'"),
)
planted(
    "replay_unanswered",
    "asked for long ago",
    update(
        "parked_operations",
        parked_row("waits"),
        "retry_requested_at = now() - interval '1 hour'",
    ),
)


@pytest.mark.parametrize(("kind", "statements"), PLANTS)
def test_a_corruption_is_found_as_what_it_is(
    kind: str, statements: tuple[str, ...]
) -> None:
    assert found() == {}
    plant(*statements)
    assert found() == {kind: 1}


def test_what_waits_for_a_person_is_no_finding_however_long() -> None:
    assert {"waits": "item_gone"}.items() <= parked().items()
    assert len(parked()) == 3
    plant(
        update(
            "parked_operations",
            "resolved_at IS NULL",
            "parked_at = now() - interval '1 year',"
            " last_seen_at = now() - interval '1 year'",
        ),
        update("parked_operations", parked_row("waits"), "retry_requested_at = now()"),
    )
    assert found() == {}


def test_movements_of_operations_count_like_those_of_fights() -> None:
    plant(update("inventory", f"id = {POTION}", "quantity = quantity + 1"))
    assert found() == {"quantity_differs": 1}
    plant(
        update("inventory", f"id = {POTION}", "quantity = quantity - 1"),
        delete("inventory", f"item_template_id = '{PELT}'"),
    )
    assert found() == {"row_vanished": 1}


def test_every_check_has_its_plant() -> None:
    kinds = {param.values[0] for param in PLANTS}  # type: ignore[attr-defined]
    assert kinds == {check.code for check in OPERATION_CHECKS}


def test_a_finding_names_the_operation() -> None:
    plant(delete("applied_operations", key("drink")))
    (finding,) = reconcile()["findings"]
    assert finding["ids"]["op_id"] == "drink"
    assert finding["ids"]["character_id"] == HERO
