"""Each kind of corruption of the tables, planted alone, is found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper

from combat_history.reconcile.operated_checks import OPERATED_CHECKS
from combat_history.reconcile.operation_checks import OPERATION_CHECKS
from combat_history.reconcile.run import TABLE_CHECKS
from combat_history.reconcile.undo_checks import UNDO_CHECKS
from persistence.contract.fight_log import pack
from tests.support.documents import HERO, POTION
from tests.support.reconciling import (
    ALLY,
    CLONE,
    DUST,
    EMPTIED,
    FAILED,
    LOOT,
    MINER,
    NAMED,
    PENALTY,
    QUIET,
    REMOVAL,
    SAMPLE,
    UNKNOWN,
    found,
    reconcile,
    settle_each_ending,
)

PROTECTED = (
    "combat_history",
    "combat_replay",
    "settlement_ledger",
    "characters",
    "inventory",
    "operations",
)

PLANTS: list[object] = []
"""Parameters (kind of finding, statements that plant it)."""


@pytest.fixture(autouse=True)
def settled(settle_here: Callable[..., None]) -> None:
    settle_each_ending(settle_here)


def plant(*statements: str) -> None:
    """Change what triggers protect, as an owner's slip or a bad restore would."""
    with connection.cursor() as cursor:
        _switch_triggers(cursor, "DISABLE")
        try:
            for statement in statements:
                cursor.execute(statement)
                assert cursor.rowcount > 0, statement
        finally:
            _switch_triggers(cursor, "ENABLE")


def _switch_triggers(cursor: CursorWrapper, how: str) -> None:
    for table in PROTECTED:
        cursor.execute(f"ALTER TABLE {table} {how} TRIGGER USER")


def planted(kind: str, how: str, *statements: str) -> None:
    PLANTS.append(pytest.param(kind, statements, id=f"{kind}: {how}"))


def insert_line(session_id: UUID, character_id: int) -> str:
    """A ledger line that moves nothing."""
    return (
        "INSERT INTO settlement_ledger (session_id, character_id, kind, xp_delta,"
        " gold_delta, xp_after, gold_after)"
        f" SELECT '{session_id}', id, 'settlement', 0, 0, xp, gold"
        f" FROM characters WHERE id = {character_id}"
    )


def insert_shortage(session_id: UUID) -> str:
    return (
        "INSERT INTO settlement_discrepancies (session_id, character_id, code, wanted,"
        f" applied) VALUES ('{session_id}', {HERO}, 'gold_shortage', 1, 0)"
    )


def insert_participant(session_id: UUID, character_id: int) -> str:
    return (
        f"INSERT INTO combat_participants SELECT {character_id}, finished_at,"
        f" session_id FROM combat_history WHERE session_id = '{session_id}'"
    )


def update(table: str, where: str, assignments: str) -> str:
    return f"UPDATE {table} SET {assignments} WHERE {where}"


def delete(table: str, where: str) -> str:
    return f"DELETE FROM {table} WHERE {where}"


def of(session_id: UUID) -> str:
    return f"session_id = '{session_id}'"


def change_line(session_id: UUID, assignments: str) -> str:
    return update("settlement_ledger", of(session_id), assignments)


DUSTY = f"character_id = {MINER} AND balance_id = '{DUST}'"


def change_dust(old: str, new: str) -> str:
    return change_line(
        NAMED, f"balances = replace(balances::text, '{old}', '{new}')::jsonb"
    )


def change_items(session_id: UUID, old: str, new: str) -> str:
    """Replace text in the recorded movements of a fight."""
    return change_line(
        session_id, f"items = replace(items::text, '{old}', '{new}')::jsonb"
    )


def change_document(session_id: UUID, path: str, value: str) -> str:
    """Without its identity: the hash alone would tell."""
    document = f"jsonb_set(result_payload, '{{participants,{path}}}', '{value}')"
    assignments = f"result_payload = {document}, payload_sha256 = NULL"
    return update("combat_history", of(session_id), assignments)


def change_character(character_id: int, assignments: str) -> str:
    return update("characters", f"id = {character_id}", assignments)


planted("ledger_missing", "line gone", delete("settlement_ledger", of(QUIET)))
planted("ledger_orphan", "no such combat", insert_line(UNKNOWN, CLONE))
planted(
    "ledger_orphan",
    "another revision",
    insert_line(UNKNOWN, CLONE),
    change_line(UNKNOWN, f"revision = 2, session_id = '{QUIET}'"),
)
planted("ledger_of_unsettled", "failed", insert_line(FAILED, HERO))
planted(
    "ledger_of_unsettled",
    "voided",
    update("combat_history", of(FAILED), "settlement_status = 'voided'"),
    insert_line(FAILED, HERO),
)
planted(
    "ledger_of_unsettled",
    "pending",
    update("combat_history", of(FAILED), "settlement_status = 'pending'"),
    insert_line(FAILED, HERO),
)
planted("ledger_stranger", "never fought", insert_line(QUIET, ALLY))
planted(
    "xp_differs",
    "applied with another",
    change_line(LOOT, "xp_delta = 1250, xp_after = xp_after + 1250"),
    change_character(HERO, "xp = xp + 1250"),
)
planted(
    "xp_differs",
    "unreadable document",
    change_document(SAMPLE, f"{HERO},changes,xp_gained", '"lots"'),
)
planted(
    "gold_differs",
    "a gift",
    change_line(LOOT, "gold_delta = 7, gold_after = gold_after + 7"),
    change_character(HERO, "gold = gold + 7"),
)
planted(
    "gold_differs",
    "shortage not recorded",
    delete("settlement_discrepancies", of(PENALTY)),
)
planted(
    "gold_differs",
    "shortage of another sum",
    update("settlement_discrepancies", of(PENALTY), "wanted = 51"),
)
planted(
    "gold_differs",
    "shortage with a full purse",
    change_line(PENALTY, "gold_delta = 0, gold_after = 30"),
    update("settlement_discrepancies", of(PENALTY), "applied = 0"),
    change_character(ALLY, "gold = 30"),
)
planted(
    "consumed_differs",
    "more asked for",
    change_document(SAMPLE, f"{HERO},changes,items_consumed,0,qty", "3"),
)
planted(
    "consumed_differs",
    "not asked for",
    change_document(SAMPLE, f"{HERO},changes,items_consumed", "[]"),
)
planted(
    "consumed_differs",
    "wear of a row without a trace",
    change_document(
        QUIET, f"{CLONE},changes", f'{{"durability_loss": {{"inventory:{POTION}": 4}}}}'
    ),
)
planted(
    "wear_differs",
    "less worn",
    change_items(SAMPLE, '"durability_delta": -5', '"durability_delta": -4'),
)
planted(
    "wear_differs",
    "more worn",
    change_items(SAMPLE, '"durability_delta": -5', '"durability_delta": -6'),
)
planted(
    "gained_differs",
    "less granted",
    change_document(LOOT, f"{HERO},changes,items_gained,0,qty", "3"),
)
planted(
    "gained_differs",
    "another item granted",
    change_document(LOOT, f"{HERO},changes,items_gained,0,item_template_id", '"axe"'),
)
planted(
    "gained_differs",
    "less than the player was shown",
    change_document(SAMPLE, f"{HERO},ui_report,loot_obtained,0,qty", "2"),
)
planted("discrepancy_orphan", "of a failed combat", insert_shortage(FAILED))
planted("discrepancy_orphan", "of no combat", insert_shortage(UNKNOWN))
planted(
    "pending_overdue",
    "never swept",
    update(
        "combat_history",
        of(FAILED),
        "settlement_status = 'pending', due_at = now() - interval '1 hour'",
    ),
)
planted(
    "players_differ",
    "one too many",
    update("combat_history", of(QUIET), f"participant_ids = '{{{ALLY},{CLONE}}}'"),
    insert_participant(QUIET, ALLY),
)
planted(
    "participant_missing",
    "line gone",
    delete("combat_participants", f"{of(QUIET)} AND character_id = {CLONE}"),
)
planted("participant_orphan", "never fought", insert_participant(QUIET, ALLY))
planted(
    "participant_orphan",
    "no such combat",
    f"INSERT INTO combat_participants VALUES ({CLONE}, now(), '{UNKNOWN}')",
)
planted(
    "replay_orphan",
    "no such combat",
    f"INSERT INTO combat_replay VALUES ('{UNKNOWN}', '')",
)
planted(
    "redacted_differs",
    "nothing was redacted",
    "INSERT INTO combat_redactions (session_id, character_id, payload_sha256)"
    f" VALUES ('{QUIET}', {CLONE}, '')",
)
planted(
    "opening_lines",
    "line gone",
    delete("settlement_ledger", f"character_id = {CLONE} AND kind = 'opening'"),
)
planted(
    "opening_lines",
    "two lines",
    "INSERT INTO settlement_ledger (character_id, kind, xp_delta, gold_delta, xp_after,"
    f" gold_after) VALUES ({CLONE}, 'opening', 0, 0, 0, 0)",
)
planted("balance_chain", "XP", change_line(LOOT, "xp_after = xp_after + 1"))
planted("balance_chain", "gold", change_line(LOOT, "gold_after = gold_after + 1"))
planted("balance_differs", "gold from nowhere", change_character(HERO, "gold = 101"))
planted("balance_differs", "XP from nowhere", change_character(HERO, "xp = 1251"))
planted("balance_differs", "no such character", delete("characters", f"id = {CLONE}"))
planted("named_chain", "other sum", change_dust('"after": 5', '"after": 6'))
planted("named_differs", "dust from nowhere", update("balances", DUSTY, "amount = 6"))
planted("named_differs", "row gone", delete("balances", DUSTY))
planted(
    "named_differs",
    "of nobody's doing",
    "INSERT INTO balances (character_id, balance_id, amount, opening_amount)"
    f" VALUES ({HERO}, '{DUST}', 4, 0)",
)
planted(
    "balances_differ",
    "more than asked",
    change_dust('"after": 5, "delta": 5', '"after": 6, "delta": 6'),
    update("balances", DUSTY, "amount = 6"),
)
planted(
    "balances_differ",
    "not moved",
    change_line(NAMED, f"balances = balances - '{DUST}'"),
    update("balances", DUSTY, "amount = 0"),
)
planted(
    "balances_differ",
    "shortage not recorded",
    delete("settlement_discrepancies", of(NAMED)),
)
planted(
    "balances_differ",
    "shortage of another sum",
    update("settlement_discrepancies", of(NAMED), "wanted = 4"),
)
planted(
    "quantity_differs",
    "taken twice",
    update("inventory", f"id = {POTION}", "quantity = quantity - 2"),
)
planted("quantity_chain", "other sum", change_items(LOOT, '"after": 3', '"after": 4'))
planted(
    "properties_differ",
    "of nobody's doing",
    update("inventory", f"id = {POTION}", "properties = '{\"roll\": 1}'"),
)
planted(
    "removed_differs",
    "more was there",
    change_items(REMOVAL, '"opening_quantity": 3', '"opening_quantity": 4'),
)
planted(
    "removed_row_present",
    "put back",
    "INSERT INTO inventory (id, character_id, item_template_id, quantity,"
    f" opening_quantity) VALUES ({EMPTIED}, {ALLY}, 'bandage', 0, 3)",
)
planted(
    "reservation_left",
    "of a processed combat",
    update("inventory", f"id = {POTION}", f"reserved_session_id = '{SAMPLE}'"),
    update("combat_history", of(SAMPLE), "settled_at = now() - interval '1 hour'"),
)
planted(
    "reservation_left",
    "of a voided combat",
    update("inventory", f"id = {POTION}", f"reserved_session_id = '{FAILED}'"),
    update("combat_history", of(FAILED), "settlement_status = 'voided'"),
)
planted(
    "document_differs",
    "a word of it",
    update(
        "combat_history",
        of(FAILED),
        "result_payload = jsonb_set(result_payload, '{note}', '1')",
    ),
)
planted(
    "document_differs",
    "its hash",
    update("combat_history", of(SAMPLE), "payload_sha256 = repeat('0', 64)"),
)
planted(
    "document_differs",
    "another fight log",
    update("combat_replay", of(SAMPLE), f"data = '\\x{pack([]).hex()}'"),
)
planted(
    "document_differs",
    "a broken fight log",
    update("combat_replay", of(SAMPLE), "data = 'zzz'"),
)
planted("row_vanished", "deleted", delete("inventory", f"id = {POTION}"))

planted(
    "economy_differs",
    "a day that nothing was given on",
    "INSERT INTO economy_days (kind, subject, day, source, minted, sunk)"
    " VALUES ('gold', '', current_date, 'victory', 5, 0)",
)


@pytest.mark.parametrize(("kind", "statements"), PLANTS)
def test_a_corruption_is_found_as_what_it_is(
    kind: str, statements: tuple[str, ...]
) -> None:
    assert found() == {}
    plant(*statements)
    assert set(found()) == {kind}


@pytest.mark.parametrize("holder", [SAMPLE, FAILED, UNKNOWN])
def test_a_belt_that_may_be_held_is_no_finding(holder: UUID) -> None:
    """Of a combat just settled, of one to be replayed, of one that is still fought."""
    plant(update("inventory", f"id = {POTION}", f"reserved_session_id = '{holder}'"))

    assert found() == {}


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


def test_a_line_written_twice_is_found(ledger_takes_twins: None) -> None:
    plant(insert_line(QUIET, CLONE))
    assert found() == {"ledger_twice": 1}


def test_every_check_has_its_plant() -> None:
    kinds = {param.values[0] for param in PLANTS}  # type: ignore[attr-defined]
    others = (*UNDO_CHECKS, *OPERATION_CHECKS, *OPERATED_CHECKS)
    elsewhere = {check.code for check in others}
    elsewhere.add("ledger_twice")
    assert kinds | elsewhere == {check.code for check in TABLE_CHECKS}


def test_a_finding_names_the_rows_and_the_amounts() -> None:
    plant(change_character(HERO, "gold = gold + 1"))
    (finding,) = reconcile()["findings"]
    assert finding == {
        "code": "balance_differs",
        "ids": {"character_id": HERO},
        "detail": "owns 1250 XP and 101 gold, the ledger adds up to 1250 and 100",
    }
