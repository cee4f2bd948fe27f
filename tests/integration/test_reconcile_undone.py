"""Each kind of corruption around undone combats, planted alone, is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection

from combat_history.actions.undo import undo_combat
from combat_history.reconcile.undo_checks import UNDO_CHECKS
from tests.integration.test_reconcile_tables import (
    change_character,
    delete,
    of,
    plant,
    update,
)
from tests.support.documents import HERO, PELT, POTION
from tests.support.reconciling import (
    ALLY,
    CLONE,
    DUST,
    LOOT,
    MINER,
    NAMED,
    QUIET,
    REMOVAL,
    SAMPLE,
    found,
    reconcile,
    settle_each_ending,
)

PLANTS: list[object] = []
"""Parameters (kinds of findings, statements that plant them)."""


@pytest.fixture(autouse=True)
def undone(settle_here: Callable[..., None]) -> None:
    """Undone; of SAMPLE, 100 of 1250 XP are missing."""
    settle_each_ending(settle_here)
    boss = User.objects.create_superuser("boss")
    plant(
        change_character(HERO, "xp = 1150"),
        "INSERT INTO settlement_ledger (character_id, kind, xp_delta, gold_delta,"
        " xp_after, gold_after)"
        f" SELECT id, 'operation', -100, 0, xp, gold FROM characters WHERE id = {HERO}",
    )
    for session_id in (REMOVAL, QUIET, SAMPLE, NAMED):
        undo_combat(
            session_id,
            actor=boss,
            reason="A test of the rules",
            on_shortage="record",
        )


def planted(kinds: str, how: str, *statements: str) -> None:
    PLANTS.append(pytest.param(set(kinds.split()), statements, id=f"{kinds}: {how}"))


def counter(session_id: UUID) -> str:
    return f"{of(session_id)} AND kind = 'compensation'"


def change_counter(session_id: UUID, assignments: str) -> str:
    return update("settlement_ledger", counter(session_id), assignments)


def change_items(session_id: UUID, old: str, new: str) -> str:
    return change_counter(
        session_id, f"items = replace(items::text, '{old}', '{new}')::jsonb"
    )


def insert_counter(session_id: UUID, character_id: int) -> str:
    """A counter-line that moves nothing."""
    return (
        "INSERT INTO settlement_ledger (session_id, character_id, kind, xp_delta,"
        " gold_delta, xp_after, gold_after)"
        f" SELECT '{session_id}', id, 'compensation', 0, 0, xp, gold"
        f" FROM characters WHERE id = {character_id}"
    )


def mark(session_id: UUID, compensated_at: str) -> str:
    return update(
        "combat_history", of(session_id), f"compensated_at = {compensated_at}"
    )


planted(
    "counter_line_missing", "line gone", delete("settlement_ledger", counter(QUIET))
)
planted("counter_line_missing", "marked by hand", mark(LOOT, "now()"))
planted("counter_line_unmarked", "mark gone", mark(QUIET, "NULL"))
planted("counter_line_stray", "never fought", insert_counter(QUIET, ALLY))
planted(
    "counter_line_missing counter_line_unmarked counter_line_stray",
    "of another revision",
    change_counter(QUIET, "revision = 2"),
)
planted(
    "counter_balance_differs",
    "gold kept",
    change_counter(SAMPLE, "gold_delta = -40, gold_after = 60"),
    change_character(HERO, "gold = 60"),
)
planted(
    "counter_balance_differs",
    "gold for nothing",
    change_counter(QUIET, "gold_delta = 7, gold_after = 7"),
    change_character(CLONE, "gold = 7"),
)
planted(
    "counter_balance_differs",
    "shortage gone",
    delete("settlement_discrepancies", f"{of(SAMPLE)} AND code = 'undo_xp_short'"),
)
planted(
    "counter_balance_differs",
    "shortage of another sum",
    update("settlement_discrepancies", of(SAMPLE), "wanted = 1251"),
)
planted(
    "counter_balance_differs",
    "shortage of a balance that moved back",
    "INSERT INTO settlement_discrepancies (session_id, character_id, code, wanted,"
    f" applied) VALUES ('{SAMPLE}', {HERO}, 'undo_gold_short', 100, 99)",
)
planted(
    "counter_named_differs",
    "dust kept",
    change_counter(NAMED, f"balances = balances - '{DUST}'"),
    update("balances", f"balance_id = '{DUST}'", "amount = 5"),
)
planted(
    "counter_named_differs",
    "shortage of a balance that moved back",
    "INSERT INTO settlement_discrepancies (session_id, character_id, code, wanted,"
    f" applied, balance_id) VALUES ('{NAMED}', {MINER}, 'undo_balance_short', 5, 4,"
    f" '{DUST}')",
)
planted(
    "counter_items_differ",
    "fewer returned",
    change_items(SAMPLE, '"after": 5, "delta": 2', '"after": 4, "delta": 1'),
    update("inventory", f"id = {POTION}", "quantity = 4"),
)
planted(
    "counter_items_differ",
    "of another kind",
    change_items(SAMPLE, f'"item_template_id": "{PELT}"', '"item_template_id": "axe"'),
)
planted(
    "counter_items_differ",
    "shortage of what was taken back",
    "INSERT INTO settlement_discrepancies (session_id, character_id, code, wanted,"
    f" applied, item_template_id) VALUES ('{SAMPLE}', {HERO}, 'undo_item_short', 1, 0,"
    f" '{PELT}')",
)
planted(
    "counter_wear_differs",
    "mended by more",
    change_items(SAMPLE, '"durability_delta": 5', '"durability_delta": 6'),
)


@pytest.mark.parametrize(("kinds", "statements"), PLANTS)
def test_a_corruption_is_found_as_what_it_is(
    kinds: set[str], statements: tuple[str, ...]
) -> None:
    assert set(found()) == NOISE
    plant(*statements)
    assert set(found()) - NOISE - FOLLOWS == kinds


NOISE = {"operation_pays"}
FOLLOWS = {"tombstone_of_unprocessed"}
"""Whoever marks a combat by hand leaves its tombstone."""
"""How the XP went missing is a finding by itself."""


def test_mended_since_is_no_finding() -> None:
    plant(change_items(SAMPLE, '"durability_delta": 5', '"durability_delta": 1'))
    assert set(found()) == NOISE


@pytest.fixture
def ledger_takes_twins() -> Iterator[None]:
    once = "settlement_ledger_once"
    columns = "(session_id, revision, character_id, kind)"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE settlement_ledger DROP CONSTRAINT {once}")
        yield
        plant(f"DELETE FROM settlement_ledger WHERE {of(QUIET)}")
        cursor.execute(
            f"ALTER TABLE settlement_ledger ADD CONSTRAINT {once} UNIQUE {columns}"
        )


def test_a_counter_line_written_twice_is_found(ledger_takes_twins: None) -> None:
    plant(
        f"INSERT INTO settlement_ledger (session_id, revision, character_id, kind,"
        " xp_delta, gold_delta, xp_after, gold_after) SELECT session_id, revision,"
        " character_id, kind, xp_delta, gold_delta, xp_after, gold_after"
        f" FROM settlement_ledger WHERE {counter(QUIET)}"
    )
    assert found() == {"counter_line_twice": 1, "operation_pays": 1}


def test_every_check_has_its_plant() -> None:
    kinds = set().union(*(param.values[0] for param in PLANTS))  # type: ignore[attr-defined]
    assert kinds | {"counter_line_twice"} == {c.code for c in UNDO_CHECKS}


def test_a_finding_names_the_line_and_the_amounts() -> None:
    plant(update("settlement_discrepancies", of(SAMPLE), "applied = 1100"))
    (finding,) = [f for f in reconcile()["findings"] if f["code"] not in NOISE]
    assert finding["code"] == "counter_balance_differs"
    assert finding["ids"]["character_id"] == HERO
    assert finding["detail"] == (
        "moved +1250 XP, moved back -1150; a shortage of 1100 of 1250"
    )
