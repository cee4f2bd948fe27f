"""Named balances from the document to the tables, and back again."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings

from combat_history.actions.dry_run import dry_run
from combat_history.actions.replay import Terms, replay
from combat_history.actions.undo import UndoRefused, preview_undo
from combat_history.models import (
    AuditEntry,
    BalanceTemplate,
    CombatHistory,
    LedgerLine,
    NamedBalance,
    SettlementDiscrepancy,
)
from persistence.tasks import settle_inbox
from tests.conftest import Settle
from tests.support.actions import REASON, fail, request_of, status
from tests.support.api import get, result_of, result_path
from tests.support.documents import HERO, SAMPLE_END, hero_fight
from tests.support.factories import add_balance
from tests.support.lookups import Find, id_of
from tests.support.reconciling import found
from tests.support.undoing import permitted, undo

DUST, KARMA = "dust", "rating:karma"


@pytest.fixture(autouse=True)
def catalogue(world: None) -> None:
    add_balance(DUST, maximum=1000)
    add_balance(KARMA, floor=-50)


def amounts() -> dict[str, int]:
    rows = NamedBalance.objects.filter(character_id=HERO)
    return dict(rows.values_list("balance_id", "amount"))


def own(balance_id: str, amount: int) -> None:
    """As the game brings what a character had before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO balances (character_id, balance_id, amount)"
            " VALUES (%s, %s, %s)",
            [HERO, balance_id, amount],
        )


def lines(kind: str = "settlement") -> list[Any]:
    rows = LedgerLine.objects.filter(kind=kind).order_by("pk")
    return list(rows.values_list("balances", flat=True))


def code_of(document: Any) -> str | None:
    return CombatHistory.objects.get(pk=id_of(document)).failure_code


def test_they_move_and_stand_on_the_players_line(settle_here: Settle) -> None:
    own(DUST, 12)

    settle_here(
        hero_fight(balances={DUST: 5, KARMA: -8}),
        hero_fight(end_timestamp=SAMPLE_END + 1, balances={KARMA: 0}),
        hero_fight(end_timestamp=SAMPLE_END + 2),
    )

    assert amounts() == {DUST: 17, KARMA: -8}
    assert lines() == [
        {DUST: {"delta": 5, "after": 17}, KARMA: {"delta": -8, "after": -8}},
        {KARMA: {"delta": 0, "after": -8}},
        None,
    ]
    opened = NamedBalance.objects.values_list("balance_id", "opening_amount")
    assert dict(opened) == {DUST: 12, KARMA: 0}
    assert found() == {}


def test_an_unknown_one_fails_the_combat_visibly(settle_here: Settle) -> None:
    document = hero_fight(balances={"mana": 5})

    settle_here(document)

    row = CombatHistory.objects.get(pk=id_of(document))
    assert (row.settlement_status, row.failure_code) == ("failed", "unknown_balance")
    assert "'mana' of character 101" in (row.failure_detail or "")
    assert amounts() == {}


def test_a_penalty_stops_at_the_floor_and_leaves_a_discrepancy(
    settle_here: Settle,
) -> None:
    own(DUST, 3)

    settle_here(hero_fight(balances={DUST: -8}))

    assert amounts() == {DUST: 0}
    short = SettlementDiscrepancy.objects.values_list(
        "code", "balance_id", "wanted", "applied"
    )
    assert list(short) == [("balance_shortage", DUST, 8, 3)]
    assert found() == {}


def test_it_fails_the_combat_where_shortages_fail(
    settle_here: Settle, settings: Settings
) -> None:
    settings.SETTLEMENT_SHORTAGES = "fail"
    document = hero_fight(balances={DUST: -8})

    settle_here(document)

    assert code_of(document) == "shortage"
    assert amounts() == {}


def test_more_than_the_maximum_fails_the_combat(settle_here: Settle) -> None:
    own(DUST, 999)
    document = hero_fight(balances={DUST: 2})

    settle_here(document)

    assert code_of(document) == "out_of_range"
    assert amounts() == {DUST: 999}


def test_an_undo_moves_them_back(settle_here: Settle) -> None:
    own(DUST, 12)
    document = hero_fight(balances={DUST: 5, KARMA: -8})
    settle_here(document)
    admin = permitted()

    seen = preview_undo(id_of(document), "refuse").undo
    undo(id_of(document), admin)

    assert amounts() == {DUST: 12, KARMA: 0}
    told = {DUST: {"delta": -5, "after": 12}, KARMA: {"delta": 8, "after": 0}}
    assert lines("compensation") == [told]
    assert seen is not None
    assert [line.balances for line in seen.lines] == [told]
    entry = AuditEntry.objects.get(outcome="done")
    sides = [
        side and side[str(HERO)]["balances"] for side in (entry.before, entry.after)
    ]
    assert sides == [{DUST: 17, KARMA: -8}, {DUST: 12, KARMA: 0}]
    assert found() == {}


def test_what_was_spent_since_cannot_be_taken_back_in_full(
    settle_here: Settle,
) -> None:
    document = hero_fight(balances={DUST: 5})
    settle_here(document, hero_fight(end_timestamp=SAMPLE_END + 1, balances={DUST: -4}))
    admin = permitted()

    with pytest.raises(UndoRefused, match="dust 1 of 5"):
        undo(id_of(document), admin)
    assert amounts() == {DUST: 1}

    undo(id_of(document), admin, "record")
    assert amounts() == {DUST: 0}
    (short,) = SettlementDiscrepancy.objects.all()
    assert (short.code, short.balance_id) == ("undo_balance_short", DUST)
    assert found() == {}


def test_a_look_up_tells_what_was_moved(
    find: Find, settle_here: Settle, redis_client: redis.Redis
) -> None:
    own(DUST, 3)
    document = hero_fight(balances={DUST: -8, KARMA: 2})
    settle_here(document)

    def told() -> Any:
        outcome = find(document["session_id"], HERO).outcome
        assert outcome is not None
        return outcome.balances

    moved = {DUST: -3, KARMA: 2}
    assert told() == moved
    # PostgreSQL is asked.
    redis_client.flushdb()
    assert told() == moved
    # A duplicate has its effects repeated.
    redis_client.flushdb()
    settle_here(document)
    assert told() == moved


@pytest.mark.usefixtures("api")
def test_a_player_reads_them_by_name(settle_here: Settle) -> None:
    add_balance("shards", name="Осколки", name_en="Shards")
    document = hero_fight(balances={"shards": 5, KARMA: -8, DUST: 0})
    settle_here(document)

    def told(language: str) -> list[str]:
        answer = result_of(get(result_path(id_of(document), language=language)))
        assert answer.outcome is not None
        assert answer.outcome.balances == {"shards": 5, KARMA: -8, DUST: 0}
        return answer.text.long.splitlines()[2:]

    assert told("en") == ["rating:karma -8, Shards +5", "Status: settled"]
    assert told("ru")[0] == "rating:karma -8, Осколки +5"


def test_what_was_previewed_is_what_runs(admin: User) -> None:
    session_id = fail(hero_fight(balances={"mana": 5, DUST: -2}))
    add_balance("mana")
    own(DUST, 1)
    seen = dry_run(session_id, fail_on_shortage=False)

    terms = Terms("record", {session_id: seen.fingerprint or ""})
    replay([session_id], actor=admin, reason=REASON, terms=terms)
    settle_inbox()

    assert status(session_id) == "processed"
    assert lines() == [line.balances for line in seen.lines]
    assert amounts() == {DUST: 0, "mana": 5}


@pytest.mark.parametrize("moved", ["amount", "bounds"])
def test_a_replay_refuses_what_was_not_seen(admin: User, moved: str) -> None:
    session_id = fail(hero_fight(balances={"mana": 5}))
    add_balance("mana")
    seen = dry_run(session_id, fail_on_shortage=False)
    if moved == "amount":
        own("mana", 1)
    else:
        BalanceTemplate.objects.filter(pk="mana").update(maximum=9)

    terms = Terms("record", {session_id: seen.fingerprint or ""})
    replay([session_id], actor=admin, reason=REASON, terms=terms)
    settle_inbox()

    assert (status(session_id), request_of(session_id).state) == ("failed", "refused")


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (
            "INSERT INTO balance_templates (id, name, floor) VALUES ('a', 'a', 1)",
            "bounds_hold_zero",
        ),
        (
            "INSERT INTO balance_templates (id, name, maximum) VALUES ('a', 'a', -1)",
            "bounds_hold_zero",
        ),
        (
            "INSERT INTO balance_templates (id, name) VALUES ('{a}', 'a')",
            "id_is_sayable",
        ),
        ("INSERT INTO balances VALUES (101, 'mana', 1)", "balance_id"),
        ("INSERT INTO balances VALUES (999, 'dust', 1)", "character_id"),
    ],
)
def test_the_database_refuses_what_no_planner_makes(
    statement: str, constraint: str
) -> None:
    def insert() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError, match=constraint):
        insert()
