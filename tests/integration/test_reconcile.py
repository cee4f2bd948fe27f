"""`manage.py reconcile`: clean after real settlements, and what it tells its caller."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from io import StringIO
from secrets import token_hex
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from combat_history.models import (
    Character,
    CombatHistory,
    CombatReplay,
    RejectedPayload,
    SettlementDiscrepancy,
)
from combat_history.reconcile.ledger_checks import LEDGER_CHECKS
from combat_history.reconcile.run import TABLE_CHECKS
from combat_history.reconcile.table_check import TableCheck
from persistence.contract.document import Document
from persistence.contract.errors import DiscrepancyCode
from persistence.tasks import settle_inbox, sweep
from tests.support import documents, factories, worker
from tests.support.documents import (
    HERO,
    PELT,
    POTION,
    SWORD,
    hero_fight,
    make_document,
    make_participant,
)
from tests.support.ids import new_session_id
from tests.support.mortal import mortal
from tests.support.reconciling import (
    ALLY,
    AXE,
    CLONE,
    SAMPLE,
    found,
    loot,
    reconcile,
    settle_each_ending,
    used,
)

Settle = Callable[..., None]

STACK, PLAIN, HELD = 70, 71, 72


@pytest.fixture
def settled(settle_here: Settle) -> Settle:
    settle_each_ending(settle_here)
    return settle_here


def every_discrepancy() -> Document:
    """The ally asks for everything in the one way it cannot be had."""
    return make_participant(
        gold_gained=-1000,
        items_consumed=[
            used(STACK, 1),
            used(STACK, 2, "bandage"),
            used(STACK, 9, "bandage"),  # of this entry, one piece is there
            used(POTION, 1),  # the hero's
            used(AXE, 1, "bandage"),
            used(987654321, 2),
            used(HELD, 1),
        ],
        durability_loss={
            "item:axe": 3,
            "item:crown": 1,
            f"inventory:{AXE}": 5,  # one point is left
            f"inventory:{STACK}": 7,  # used up a moment ago
            f"inventory:{SWORD}": 2,  # the hero's
            f"inventory:{PLAIN}": 6,  # does not wear
            f"inventory:{HELD}": 4,  # of another fight
            "item:sword_epic": 2,
        },
    )


def three_column_insert(document: Document) -> None:
    """A three-column INSERT by a program that knows nothing of ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO combat_history (session_id, participant_ids, result_payload)"
            " VALUES (%s, %s, %s)",
            [
                document["session_id"],
                [int(key) for key in document["participants"]],
                json.dumps(document),
            ],
        )


def let_an_hour_pass() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE combat_history SET due_at = due_at - interval '1 hour'")


def test_real_settlements_of_every_kind_are_clean(settled: Settle) -> None:
    factories.add_item(ALLY, "bandage", STACK, quantity=4)
    factories.add_item(ALLY, "bandage", PLAIN, slot="belt_2")
    held_by = new_session_id()
    factories.add_item(
        ALLY, "sword_epic", HELD, is_equipped=True, reserved_session_id=held_by
    )
    sample = documents.sample_document(session_id=SAMPLE)
    settled(
        sample,
        json.dumps(sample, ensure_ascii=False),
        {**sample, "note": "another body"},
        make_document({ALLY: every_discrepancy(), HERO: make_participant()}),
        make_document(
            {
                HERO: make_participant(items_gained=[loot("axe", 3), loot(PELT, 4)]),
                ALLY: make_participant(ui_report={"loot_obtained": [{"name": "axe"}]}),
            },
            replay_log=[{"turn": 1}],
        ),
        make_document(
            {HERO: make_participant(items_consumed=[{"inv_id": POTION, "qty": 1}] * 3)}
        ),
        make_document({"goblin_1": {"hp": 3}, "-101": {}}),
        make_document({424242: make_participant()}),
        hero_fight(xp_gained="10"),
        make_document(note="\x00"),
        make_document(session_id="no id"),
        "no JSON",
    )
    three_column_insert(make_document({CLONE: make_participant(xp_gained=1)}))
    let_an_hour_pass()
    sweep()
    settle_inbox()

    statuses = list(CombatHistory.objects.values_list("settlement_status", flat=True))
    assert (statuses.count("processed"), statuses.count("failed")) == (11, 4)
    shortages = SettlementDiscrepancy.objects.values_list("code", flat=True)
    assert set(shortages) == {c for c in DiscrepancyCode if not c.startswith("undo_")}
    rejected = RejectedPayload.objects.values_list("code", flat=True)
    assert sorted(rejected) == ["bad_session_id", "invalid_payload", "payload_conflict"]
    assert reconcile()["findings"] == []


def test_what_changes_no_document_is_no_difference_of_one(settle_here: Settle) -> None:
    """jsonb writes some numbers in another way; a fight log is forgotten in time."""
    numbers = {"odd": [1e16, -0.0, 1e15, 1e-7, 2**70, 0.1], "deep": {"er": [1.5e300]}}
    turns = [{"turn": 1e16, "amount": -0.0, "text": "\ud800", "odd": float("nan")}]
    pruned = documents.sample_document()
    settle_here(
        pruned,
        make_document(notes=numbers, replay_log=turns),
        make_document(replay_log=None),
        make_document(note="\x00", replay_log=turns),
    )
    CombatReplay.objects.filter(pk=pruned["session_id"]).delete()

    assert reconcile()["counts"]["document_differs"] == 0


def test_inside_a_transaction_it_sees_what_that_wrote(settled: Settle) -> None:
    with transaction.atomic():
        Character.objects.filter(pk=HERO).update(gold=1)
        assert found() == {"balance_differs": 1}
        # Neither its limits nor its promise to write nothing outlive it.
        Character.objects.filter(pk=HERO).update(gold=100)
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("10s",)
    assert found() == {}


def test_settling_meanwhile_is_no_finding(settled: Settle) -> None:
    sample = documents.sample_document(session_id=SAMPLE)
    finished = threading.Event()

    def fight_on() -> None:
        try:
            for number in range(60):
                won = make_participant(xp_gained=number, gold_gained=1)
                settled(
                    make_document({HERO: won}),
                    sample,
                )
        finally:
            connection.close()
            finished.set()

    fighter = threading.Thread(target=fight_on)
    fighter.start()
    rounds = 0
    while not finished.is_set():
        assert reconcile()["findings"] == []
        rounds += 1
    fighter.join()

    assert rounds > 1
    assert CombatHistory.objects.filter(settlement_status="processed").count() == 66


def test_the_limits_of_a_worker_session_do_not_hold(settled: Settle) -> None:
    limits: list[str] = []

    def limit() -> str:
        (found,) = connection.connection.execute("SHOW statement_timeout").fetchone()
        return str(found)

    def look(execute: Any, *statement: Any) -> Any:
        limits.append(limit())
        return execute(*statement)

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '59s'")
        try:
            with connection.execute_wrapper(look):
                assert reconcile()["clean"]
            assert limit() == "59s"
        finally:
            cursor.execute("RESET statement_timeout")
    assert limits.count("1h") >= len(TABLE_CHECKS)


def test_many_findings_are_counted_and_the_first_are_shown(settled: Settle) -> None:
    for _ in range(25):
        document = make_document({HERO: make_participant()})
        three_column_insert(document)
    let_an_hour_pass()

    report = reconcile()
    assert report["counts"]["pending_overdue"] == 25
    assert len(report["findings"]) == 20
    finding = report["findings"][0]
    assert finding["code"] == "pending_overdue"
    assert CombatHistory.objects.get(pk=finding["ids"]["session_id"]).due_at
    assert "due since" in finding["detail"]

    out = StringIO()
    with pytest.raises(CommandError, match=r"^25 findings$") as raised:
        call_command("reconcile", stdout=out)
    assert raised.value.returncode == 3
    assert "25 findings  pending_overdue" in out.getvalue()
    assert len(re.findall(r"session_id=\S+: due since", out.getvalue())) == 20
    assert "and 5 more" in out.getvalue()


def test_a_clean_world_is_said_to_be_clean(settled: Settle) -> None:
    out = StringIO()
    call_command("reconcile", stdout=out)
    lines = out.getvalue().splitlines()
    assert lines[-1] == "clean"
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}
    assert len(lines) == len(reconcile()["counts"]) + 1


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere"),
        ("REDIS_URL", "redis://127.0.0.1:1/0"),
    ],
)
def test_servers_that_are_away_are_no_findings(
    world: None, variable: str, url: str
) -> None:
    ended = run_reconcile(**{variable: url})
    assert ended.returncode == 1
    assert ended.stderr.startswith("CommandError: cannot reconcile:")


def test_the_exit_status_tells_clean_from_corrupt(settled: Settle) -> None:
    assert run_reconcile().returncode == 0
    with connection.cursor() as cursor:
        cursor.execute("UPDATE characters SET gold = gold + 1 WHERE id = %s", [HERO])
    ended = run_reconcile()
    assert ended.returncode == 3
    assert json.loads(ended.stdout)["counts"]["balance_differs"] == 1


def run_reconcile(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        mortal(sys.executable, "manage.py", "reconcile", "--json"),
        cwd=worker.PROJECT_ROOT,
        env=worker.environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("check", LEDGER_CHECKS, ids=lambda check: check.code)
def test_a_document_is_read_once_however_many_lines_it_has(
    settle_here: Settle, check: TableCheck
) -> None:
    fighters = range(1000, 1040)
    for char_id in fighters:
        factories.add_character(char_id)
    for _ in range(3):
        # Of a kilobyte each that does not compress: read from outside of the row.
        parts = [
            (id_, make_participant(ui_report={"seen": token_hex(1000)}))
            for id_ in fighters
        ]
        settle_here(make_document(dict(parts)))

    with connection.cursor() as cursor:
        statement = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {check.given} {check.sql}"
        cursor.execute(statement, {})
        ((explained,),) = cursor.fetchall()

    plan = explained[0]["Plan"]
    blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    assert blocks < 1000
