"""The rules that PostgreSQL itself enforces, whoever writes: by raw SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from combat_history.models import Character
from tests.support.documents import HERO
from tests.support.factories import add_character, add_small_world
from tests.support.ids import new_session_id

pytestmark = pytest.mark.django_db

SESSION = new_session_id()
STATUSES = ("pending", "processed", "failed", "voided")
ALLOWED = {
    ("pending", "processed"),
    ("pending", "failed"),
    ("pending", "voided"),
    ("failed", "pending"),
    ("failed", "voided"),
}


@pytest.fixture(autouse=True)
def _small_world(db: None) -> None:
    add_small_world()


def execute(statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def refused_by(constraint: str) -> Iterator[None]:
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        yield
    cause = refusal.value.__cause__
    assert isinstance(cause, psycopg.Error)
    assert cause.diag.constraint_name == constraint


def insert_combat(status: str = "pending", **over: Any) -> None:
    row = {
        "session_id": SESSION,
        "participant_ids": [HERO],
        "result_payload": json.dumps({"a": 1}),
        "settlement_status": status,
        **over,
    }
    if status == "processed":
        row.setdefault("settled_at", "2025-01-01T00:00Z")
    if status == "failed":
        row.setdefault("failure_code", "unknown_item")
    columns = ", ".join(row)
    values = ", ".join(["%s"] * len(row))
    execute(
        f"INSERT INTO combat_history ({columns}) VALUES ({values})", list(row.values())
    )


def test_the_seeds_three_columns_are_enough() -> None:
    execute(
        "INSERT INTO combat_history (session_id, participant_ids, result_payload)"
        " VALUES (%s, '{101}', '{}')",
        [SESSION],
    )

    row = execute(
        "SELECT settlement_status, settled_at, attempts, revision, payload_sha256,"
        " raw_payload FROM combat_history"
        " WHERE finished_at >= now() AND received_at >= now() AND due_at >= now()"
    )

    assert row == [("pending", None, 0, 1, None, None)]


def test_history_is_never_deleted() -> None:
    insert_combat()

    with refused_by("combat_history_never_deleted"):
        execute("DELETE FROM combat_history")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("session_id", "00000000-0000-7000-8000-000000000000"),
        ("participant_ids", "{101,102}"),
        ("finished_at", "2020-01-01T00:00Z"),
        ("received_at", "2020-01-01T00:00Z"),
        ("result_payload", '{"a": 2}'),
        ("raw_payload", b"x"),
        ("payload_sha256", "f" * 64),
        ("payload_sha256", None),
    ],
)
@pytest.mark.parametrize("status", STATUSES)
def test_document_and_its_identity_are_immutable(
    status: str, column: str, value: Any
) -> None:
    insert_combat(status, payload_sha256="0" * 64)

    with refused_by("combat_history_document_immutable"):
        execute(f"UPDATE combat_history SET {column} = %s", [value])


def test_unknown_hash_may_be_filled_in_once() -> None:
    insert_combat()

    execute("UPDATE combat_history SET payload_sha256 = %s", ["0" * 64])

    with refused_by("combat_history_document_immutable"):
        execute("UPDATE combat_history SET payload_sha256 = %s", ["1" * 64])


@pytest.mark.parametrize("after", STATUSES)
@pytest.mark.parametrize("before", STATUSES)
def test_transitions(before: str, after: str) -> None:
    insert_combat(before)
    move = """
        UPDATE combat_history SET settlement_status = %s,
            settled_at = CASE %s WHEN 'processed' THEN now() END,
            failure_code = CASE %s WHEN 'failed' THEN 'x' END
    """

    if before == after or (before, after) in ALLOWED:
        execute(move, [after] * 3)
        assert execute("SELECT settlement_status FROM combat_history") == [(after,)]
    else:
        with refused_by("combat_history_known_transition"):
            execute(move, [after] * 3)


def test_status_is_a_known_one() -> None:
    with refused_by("combat_history_known_status"):
        insert_combat("lost")


@pytest.mark.parametrize(
    ("status", "settled_at"),
    [("processed", None), ("pending", "now"), ("failed", "now"), ("voided", "now")],
)
def test_settled_at_is_set_if_and_only_if_processed(
    status: str, settled_at: str | None
) -> None:
    with refused_by("combat_history_settled_iff_processed"):
        insert_combat(status, settled_at=settled_at)


def test_failed_combat_has_a_code() -> None:
    with refused_by("combat_history_failed_has_code"):
        insert_combat("failed", failure_code=None)


def test_attempts_are_not_negative() -> None:
    with refused_by("combat_history_attempts"):
        insert_combat(attempts=-1)


def test_session_id_is_unique() -> None:
    insert_combat()

    with refused_by("combat_history_pkey"):
        insert_combat()


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE characters SET gold = -1", "characters_gold_not_negative"),
        ("UPDATE characters SET xp = -1", "characters_xp_not_negative"),
        ("UPDATE characters SET hp = -1", "characters_vitals_not_negative"),
        ("UPDATE characters SET energy = -1", "characters_vitals_not_negative"),
        ("UPDATE inventory SET quantity = -1", "inventory_quantity_not_negative"),
        ("UPDATE inventory SET durability = -1", "inventory_durability_not_negative"),
    ],
)
def test_nothing_a_player_has_goes_below_zero(statement: str, constraint: str) -> None:
    with refused_by(constraint):
        execute(statement)


def insert_line(**over: Any) -> None:
    row = {
        "session_id": SESSION,
        "character_id": HERO,
        "kind": "settlement",
        "xp_delta": 1,
        "gold_delta": 1,
        "xp_after": 1,
        "gold_after": 1,
        **over,
    }
    columns, values = ", ".join(row), ", ".join(["%s"] * len(row))
    execute(
        f"INSERT INTO settlement_ledger ({columns}) VALUES ({values})",
        list(row.values()),
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE settlement_ledger SET gold_after = 5",
        "UPDATE settlement_ledger SET recorded_at = now()",
        "DELETE FROM settlement_ledger",
    ],
)
def test_ledger_is_append_only(statement: str) -> None:
    insert_line()

    with refused_by("settlement_ledger_append_only"):
        execute(statement)


def test_ledger_line_is_written_once_per_revision() -> None:
    insert_line()
    insert_line(revision=2)
    insert_line(character_id=102)

    with refused_by("settlement_ledger_once"):
        insert_line(gold_delta=9)


@pytest.mark.parametrize(
    ("over", "constraint"),
    [
        ({"kind": "gift"}, "settlement_ledger_known_kind"),
        ({"session_id": None}, "settlement_ledger_session_by_kind"),
        ({"kind": "opening"}, "settlement_ledger_session_by_kind"),
        ({"gold_after": -1}, "settlement_ledger_balances_not_negative"),
        ({"xp_after": -1}, "settlement_ledger_balances_not_negative"),
    ],
)
def test_ledger_line_makes_sense(over: dict[str, Any], constraint: str) -> None:
    with refused_by(constraint):
        insert_line(**over)


def test_new_characters_open_their_ledger_in_order() -> None:
    execute(
        "INSERT INTO characters (id, name, xp, gold)"
        " VALUES (302, 'b', 7, 9), (301, 'a', 0, 0)"
    )

    lines = execute(
        "SELECT character_id, kind, xp_delta, gold_delta, xp_after, gold_after"
        " FROM settlement_ledger WHERE character_id > 300 ORDER BY id"
    )

    assert lines == [(301, "opening", 0, 0, 0, 0), (302, "opening", 7, 9, 7, 9)]


@pytest.mark.parametrize(("origin", "opening"), [(None, 4), (SESSION, 0)])
def test_row_from_outside_a_settlement_opens_with_its_quantity(
    origin: Any, opening: int
) -> None:
    execute(
        "INSERT INTO inventory (id, character_id, item_template_id, quantity,"
        " origin_session_id) VALUES (300, 101, 'wolf_pelt', 4, %s)",
        [origin],
    )

    found = execute("SELECT opening_quantity FROM inventory WHERE id = 300")

    assert found == [(opening,)]


def test_rows_with_a_character_cannot_lose_it() -> None:
    execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError), transaction.atomic():
        execute("DELETE FROM characters WHERE id = 101")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM characters WHERE id = 102",
        "DELETE FROM characters WHERE id IN (102, 103)",
        "UPDATE characters SET id = 999 WHERE id = 102",
    ],
)
def test_a_character_that_the_ledger_names_stays_under_its_id(statement: str) -> None:
    """Its opening line is enough: without the character it could never add up."""
    add_character(102)
    add_character(103)

    with refused_by("characters_named_by_ledger"):
        execute(statement)

    assert Character.objects.filter(pk=102).exists()


def test_characters_that_no_line_names_can_be_deleted_and_all_be_truncated() -> None:
    execute("ALTER TABLE characters DISABLE TRIGGER characters_open_ledger")
    add_character(102)
    execute("ALTER TABLE characters ENABLE TRIGGER characters_open_ledger")

    execute("DELETE FROM characters WHERE id = 102")
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("TRUNCATE characters CASCADE")

    assert not Character.objects.exists()


def test_same_rejected_bytes_are_one_row_even_without_a_session() -> None:
    insert = "INSERT INTO rejected_payloads (payload_sha256, code) VALUES (%s, 'x')"
    execute(insert, ["0" * 64])

    with refused_by("rejected_payloads_once"):
        execute(insert, ["0" * 64])


def test_two_templates_never_share_a_name() -> None:
    insert = "INSERT INTO item_templates (id, name, name_en) VALUES (%s, %s, %s)"
    execute(insert, ["fur_1", "Мех", ""])
    execute(insert, ["fur_2", "Мех лисы", ""])

    with refused_by("item_templates_name_en_unique"):
        execute(insert, ["fur_3", "Мех норки", "Wolf pelt"])


def test_full_view_rejoins_the_fight_log() -> None:
    insert_combat()
    other = new_session_id()
    insert_combat(session_id=other)
    execute(
        "INSERT INTO combat_replay (session_id, data) VALUES (%s, 'zzz')", [SESSION]
    )

    rows = execute(
        "SELECT session_id, result_payload->>'a', replay_log_zstd"
        " FROM combat_history_full"
    )

    found = {row[0]: (row[1], row[2] and bytes(row[2])) for row in rows}
    assert found == {SESSION: ("1", b"zzz"), other: ("1", None)}


def test_a_fight_log_may_be_forgotten_and_never_changed() -> None:
    insert_combat()
    execute(
        "INSERT INTO combat_replay (session_id, data) VALUES (%s, 'zzz')", [SESSION]
    )

    with refused_by("combat_replay_immutable"):
        execute("UPDATE combat_replay SET data = 'yyy'")
    execute("DELETE FROM combat_replay")

    assert execute("SELECT FROM combat_replay") == []


def test_fight_log_is_not_compressed_twice() -> None:
    storage = execute(
        "SELECT attstorage FROM pg_attribute"
        " WHERE attrelid = 'combat_replay'::regclass AND attname = 'data'"
    )

    assert storage == [("e",)]


@pytest.mark.parametrize(
    "index",
    ["idx_combat_hist_participants", "combat_history_pending", "combat_history_failed"],
)
def test_promised_indexes_exist(index: str) -> None:
    assert execute("SELECT 1 FROM pg_indexes WHERE indexname = %s", [index])
