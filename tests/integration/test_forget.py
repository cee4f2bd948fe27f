"""A forgotten player: no name, no text is left, and the books stay whole."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import Error, connection, transaction

from combat_history.actions.operate import operate
from combat_history.actions.triage import Say, Verb, say
from combat_history.models import (
    AuditEntry,
    Character,
    CombatHistory,
    CombatReplay,
    LedgerLine,
    RejectedPayload,
    Triage,
)
from combat_history.reconcile import reconcile
from persistence.contract.document import Document
from persistence.contract.operate import Operation
from tests.conftest import Settle
from tests.support.documents import HERO, make_document, make_participant
from tests.support.factories import add_character
from tests.support.operating import operation

REASON = "asked for by letter 17"
NAME = "Иван Печальный"
FRIEND = 202
TOLD = {
    "name": NAME,
    "ui_report": {"text": f"{NAME} wins", "loot_obtained": []},
    "telegram": "@sad_ivan",
}


def fight(**meta: Any) -> Document:
    """Texts of the player are in every place where a game may put them."""
    players = {
        str(HERO): make_participant(gold_gained=70, **{}) | TOLD,
        str(FRIEND): make_participant(gold_gained=5)
        | {"name": "Friend", "ui_report": {"text": f"beaten by {NAME}"}},
        "-101": make_participant() | {"name": f"Shadow of {NAME}"},
    }
    document = make_document(players, replay_log=[{"text": f"{NAME} hits"}])
    document["chat"] = [f"hello, {NAME}"]
    document["meta"] |= {"arena": f"{NAME}'s own", **meta}
    return document


@pytest.fixture
def settled(settle_here: Settle) -> Document:
    Character.objects.filter(pk=HERO).update(name=NAME)
    add_character(FRIEND)
    document = fight()
    settle_here(document)
    assert CombatHistory.objects.get().settlement_status == "processed"
    return document


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def forget() -> str:
    return run("forget_player", str(HERO), "--yes", "--reason", REASON)


def whole_database() -> str:
    """Every row of every table as text; compressed bytes are looked at elsewhere."""
    tables = connection.introspection.table_names()
    with connection.cursor() as cursor:
        rows = []
        for table in sorted(tables):
            cursor.execute(f'SELECT string_agg(t::text, chr(10)) FROM "{table}" t')
            rows.append(str(cursor.fetchone()[0]))
    return "\n".join(rows)


def test_a_dry_run_changes_nothing(settled: Document) -> None:
    before = whole_database()

    told = run("forget_player", str(HERO))

    assert "1 combats to redact" in told
    assert "Nothing was changed" in told
    assert whole_database() == before


def test_no_name_and_no_text_of_the_player_is_left(settled: Document) -> None:
    RejectedPayload.objects.create(
        code="invalid_payload",
        errors=[{"message": NAME}],
        raw=NAME.encode(),
        participant_ids=[HERO],
    )
    asked = operation("gift", f"{NAME}'s birthday", c101={}, c202={})
    operate(Operation.read(asked), "engine")
    lines = list(LedgerLine.objects.order_by("id").values())
    boss = User.objects.create_superuser("boss")
    note = Say(Verb.NOTE, note=f"{NAME} writes every day")
    say(Triage.Kind.PLAYER, [str(HERO)], note, actor=boss)
    assert "note of the team" in run("export_player", str(HERO))

    forget()

    left = whole_database()
    assert NAME not in left
    assert "sad_ivan" not in left
    assert NAME.encode().hex() not in left
    assert not CombatReplay.objects.exists()
    assert "Friend" in left
    assert list(LedgerLine.objects.order_by("id").values()) == lines
    assert Character.objects.get(pk=HERO).gold == 70
    part = CombatHistory.objects.get().result_payload["participants"][str(HERO)]
    assert set(part) <= {"is_winner", "state_snapshot", "changes", "team", "ui_report"}
    assert part["changes"] == settled["participants"][str(HERO)]["changes"]


def test_the_books_stay_whole_and_it_is_in_the_audit(settled: Document) -> None:
    forget()

    assert reconcile().findings == []
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target_type, entry.target_id) == (
        "forget",
        "character",
        str(HERO),
    )
    assert (entry.reason, entry.detail) == (
        REASON,
        "1 combats, 0 rejected payloads",
    )
    assert run("forget_player", str(HERO)).startswith("a character, 0 combats")


def test_two_players_of_one_fight_are_forgotten_one_after_the_other(
    settled: Document,
) -> None:
    forget()
    run("forget_player", str(FRIEND), "--yes", "--reason", REASON)

    assert "Friend" not in whole_database()
    assert reconcile().findings == []


def test_the_same_document_again_is_still_a_duplicate(
    settled: Document, settle_here: Settle
) -> None:
    forget()

    settle_here(settled)

    assert RejectedPayload.objects.count() == 0
    assert Character.objects.get(pk=HERO).gold == 70
    assert NAME not in whole_database()


def test_what_waits_for_a_decision_is_left_alone(settle_here: Settle) -> None:
    part = make_participant(items_gained=[{"item_template_id": "scale", "qty": 1}])
    settle_here(make_document({str(HERO): part | TOLD}))
    assert CombatHistory.objects.get().settlement_status == "failed"

    with pytest.raises(CommandError, match="1 combats wait"):
        forget()
    assert NAME in str(CombatHistory.objects.get().result_payload)

    CombatHistory.objects.update(settlement_status="voided")
    forget()
    assert NAME not in str(CombatHistory.objects.get().result_payload)


def test_a_reason_is_asked_for(settled: Document) -> None:
    with pytest.raises(CommandError, match="reason"):
        run("forget_player", str(HERO), "--yes")
    assert NAME in whole_database()


RECORDED = """
INSERT INTO combat_redactions (session_id, character_id, payload_sha256)
SELECT session_id, 101, '' FROM combat_history
"""
REDACT = "UPDATE combat_history SET result_payload = {}"
FORGOTTEN = "combat_forgotten(result_payload, 101)"


@pytest.mark.parametrize(
    "statements",
    [
        # Without a record, with another result, and of what is not redacted.
        [REDACT.format(FORGOTTEN)],
        [RECORDED, REDACT.format(f"{FORGOTTEN} || '{{\"chat\": 1}}'")],
        [RECORDED, "UPDATE combat_history SET raw_payload = 'x'"],
        [RECORDED, "DELETE FROM combat_redactions"],
    ],
)
def test_the_guard_lets_through_nothing_else(
    settled: Document, statements: list[str]
) -> None:
    *first, last = statements
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in first:
            cursor.execute(statement)
        with pytest.raises(Error, match=r"immutable|append-only"):
            cursor.execute(last)
        transaction.set_rollback(True)


def test_a_record_opens_a_document_in_its_own_transaction_alone(
    settled: Document,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(RECORDED)
        with pytest.raises(Error, match="immutable"):
            cursor.execute(REDACT.format(FORGOTTEN))


def test_a_redacted_document_that_changed_is_found(settled: Document) -> None:
    forget()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE combat_history DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE combat_history SET result_payload ="
            " jsonb_set(result_payload, '{meta,winner_team}', '\"x\"')"
        )
        cursor.execute("ALTER TABLE combat_history ENABLE TRIGGER USER")

    assert {found.code for found in reconcile().findings} == {"redacted_differs"}


def test_raw_bytes_that_redis_still_keeps_go(
    settled: Document, redis_client: redis.Redis
) -> None:
    key = f"combat:result:{settled['session_id']}"
    redis_client.hset(key, "raw", NAME)

    forget()

    assert redis_client.hget(key, "raw") is None


def test_everything_held_of_a_player_is_exported(settled: Document) -> None:
    asked = operation("gift", "Birthday", c101={"xp_gained": 3}, c202={"xp_gained": 4})
    operate(Operation.read(asked), "engine")

    told = [json.loads(line) for line in run("export_player", str(HERO)).splitlines()]

    kinds = {row["record"] for row in told}
    assert {"character", "inventory", "ledger line", "combat", "fight log"} <= kinds
    (combat,) = [row for row in told if row["record"] == "combat"]
    assert combat["own_part"]["telegram"] == "@sad_ivan"
    assert "Friend" not in json.dumps(combat)
    (gift,) = [row for row in told if row["record"] == "operation"]
    assert (gift["op_id"], gift["asked"]) == ("gift", {"xp_gained": 3})
    assert gift["answered"]["xp"] == 3
    assert AuditEntry.objects.get().verb == "export"


def test_old_bytes_of_rejected_payloads_go(world: None) -> None:
    RejectedPayload.objects.create(code="x", raw=b"12345", payload_sha256="1" * 64)
    old = RejectedPayload.objects.create(code="x", raw=b"123", payload_sha256="2" * 64)
    RejectedPayload.objects.filter(pk=old.pk).update(last_seen_at="2026-01-01T00:00Z")

    assert run("prune_rejected", "--older-than", "30", "--dry-run").startswith("1 ")
    assert RejectedPayload.objects.filter(raw__isnull=True).count() == 0
    assert "1 rejected payloads, 3 bytes, emptied" in run(
        "prune_rejected", "--older-than", "30"
    )
    assert [row.raw is None for row in RejectedPayload.objects.order_by("pk")] == [
        False,
        True,
    ]
