"""Over a review rule nothing of a combat is applied before a person has approved it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection

from combat_history.actions import replay
from combat_history.actions.dry_run import dry_run
from combat_history.insight.rehearsal import would_hold
from combat_history.models import Character, CombatHistory, LedgerLine, ReviewRule
from combat_history.reading.lookup import find_result
from persistence.contract.document import Document
from persistence.tasks import settle_combat, settle_inbox
from tests.support.documents import HERO, PELT, hero_fight, make_document
from tests.support.reconciling import found

PELTS: dict[str, Any] = {"items_gained": [{"item_template_id": PELT, "qty": 3}] * 2}

pytestmark = pytest.mark.usefixtures("world")


def rule(amount: str, limit: int, span: str = "fight", **more: Any) -> ReviewRule:
    return ReviewRule.objects.create(
        amount=amount, span=span, limit=limit, **{"is_on": True, **more}
    )


def settle(document: Document) -> CombatHistory:
    settle_combat(document)
    return CombatHistory.objects.get(pk=document["session_id"])


def held(row: CombatHistory) -> bool:
    return (row.settlement_status, row.failure_code) == ("failed", "held_for_review")


@pytest.mark.parametrize(
    ("amount", "item", "changes", "value"),
    [
        ("xp", "", {"xp_gained": 6}, 6),
        ("gold", "", {"gold_gained": 6}, 6),
        ("items", "", PELTS, 6),
        ("items", PELT, PELTS, 6),
    ],
)
def test_what_is_over_a_limit_is_held_and_nothing_of_it_applied(
    amount: str, item: str, changes: dict[str, Any], value: int
) -> None:
    broken = rule(amount, value - 1, item_template_id=item)

    row = settle(hero_fight(**changes))

    assert held(row)
    assert f"rule {broken.pk}: " in (row.failure_detail or "")
    assert f"character {HERO}: {value}, limit {value - 1}" in (row.failure_detail or "")
    assert not LedgerLine.objects.filter(session_id=row.pk).exists()
    assert Character.objects.get(pk=HERO).xp == 0
    assert found() == {}
    ReviewRule.objects.update(limit=value)
    assert not held(settle(hero_fight(**changes)))


def test_a_rule_that_is_off_or_of_another_item_holds_nothing() -> None:
    rule("gold", 0, is_on=False)
    rule("items", 0, item_template_id="sword_epic")

    row = settle(hero_fight(gold_gained=6, **PELTS))

    assert row.settlement_status == "processed"


def test_a_day_counts_what_came_before_also_in_the_same_batch() -> None:
    rule("gold", 10, "day")
    fights = [hero_fight(gold_gained=5) for _ in range(3)]

    assert not held(settle(fights[0]))
    assert not held(settle(fights[1]))
    assert held(settle(fights[2]))
    assert Character.objects.get(pk=HERO).gold == 10
    assert not held(settle(hero_fight(xp_gained=9)))


def test_what_is_held_takes_nobody_along() -> None:
    rule("gold", 5)
    other = make_document()

    assert held(settle(hero_fight(gold_gained=6)))
    assert settle(other).settlement_status == "processed"


def test_a_replay_approves_what_was_held_and_the_preview_shows_it(admin: User) -> None:
    rule("gold", 5)
    row = settle(hero_fight(gold_gained=6))
    plan = dry_run(row.pk, fail_on_shortage=False)
    assert (plan.failure, [line.gold_delta for line in plan.lines]) == (None, [6])

    replay.replay([row.pk], actor=admin, reason="the event of the week")
    settle_inbox()

    row.refresh_from_db()
    assert row.settlement_status == "processed"
    assert Character.objects.get(pk=HERO).gold == 6


def test_the_player_reads_that_it_is_under_review() -> None:
    rule("gold", 5)
    row = settle(hero_fight(gold_gained=6))

    result = find_result(row.pk, HERO)

    assert "under_review" in repr(result).lower()


@pytest.mark.parametrize("span", ["fight", "day"])
def test_a_rule_is_rehearsed_over_what_was_settled(span: str) -> None:
    for gold in (3, 4, 8):
        settle(hero_fight(gold_gained=gold))

    assert would_hold(rule("gold", 7, span, is_on=False)) == (1, 3)
    assert (
        would_hold(rule("gold", 6, span, is_on=False))[0]
        == {"fight": 1, "day": 2}[span]
    )
    assert would_hold(rule("items", 0, is_on=False)) == (0, 3)


def test_items_are_rehearsed_too() -> None:
    settle(hero_fight(**PELTS))

    assert would_hold(rule("items", 5, item_template_id=PELT, is_on=False)) == (1, 1)
    assert would_hold(rule("items", 6, is_on=False)) == (0, 1)


@pytest.mark.parametrize(
    ("amount", "span", "item", "limit"),
    [("items", "day", "", 1), ("xp", "fight", PELT, 1), ("xp", "fight", "", -1)],
)
def test_the_database_refuses_what_is_no_rule(
    amount: str, span: str, item: str, limit: int
) -> None:
    with pytest.raises(IntegrityError):
        rule(amount, limit, span, item_template_id=item)


def test_a_new_installation_begins_with_absurd_amounts_alone() -> None:
    text = import_module("combat_history.migrations.0015_review_rules").ABSURD
    with connection.cursor() as cursor:
        cursor.execute(text)

    assert held(settle(hero_fight(gold_gained=10_000_001)))
    assert not held(settle(hero_fight(gold_gained=10_000_000)))
