"""Over a review rule nothing of a combat is applied before a person has approved it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from uuid import UUID

import pytest
import redis
from django.contrib.auth.models import User
from django.db import IntegrityError, connection

from combat_history.actions import replay
from combat_history.actions.dry_run import dry_run
from combat_history.insight.rehearsal import would_hold
from combat_history.insight.usual import measure_rules
from combat_history.models import Character, CombatHistory, LedgerLine, ReviewRule
from combat_history.reading.lookup import find_result
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import checked
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from tests.support.belts import begin
from tests.support.documents import (
    HERO,
    PELT,
    SAMPLE_END,
    hero_fight,
    make_document,
    make_participant,
)
from tests.support.factories import add_character
from tests.support.ids import new_session_id
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


def test_a_day_is_counted_within_a_batch() -> None:
    rule("gold", 10, "day")
    settle(hero_fight(gold_gained=4))
    fights = [
        hero_fight(gold_gained=gold, end_timestamp=SAMPLE_END + at)
        for at, gold in enumerate((-4, 3, 3, 4, 1))
    ]
    for fight in fights:
        inbox.record(checked(json.dumps(fight).encode(), 100_000))

    settle_inbox()

    rows = {str(row.pk): row for row in CombatHistory.objects.all()}
    # 4 - 4 + 3 + 3 + 4 of ten, and one.
    assert [held(rows[fight["session_id"]]) for fight in fights] == [
        *[False] * 4,
        True,
    ]
    assert Character.objects.get(pk=HERO).gold == 10


def test_pieces_of_an_item_are_bounded_by_day_too() -> None:
    rule("items", 12, "day")

    assert not held(settle(hero_fight(**PELTS)))
    assert not held(settle(hero_fight(**PELTS, gold_gained=1)))
    last = settle(hero_fight(**PELTS, gold_gained=2))
    assert held(last)
    assert f"items {PELT} in a day, character {HERO}: 18" in (last.failure_detail or "")


def test_what_is_older_than_a_day_counts_no_more() -> None:
    rule("gold", 5, "day")
    old = datetime.now(UTC) - timedelta(hours=25)
    LedgerLine.objects.bulk_create(
        LedgerLine(
            character_id=HERO,
            session_id=new_session_id(),
            kind="settlement",
            xp_delta=0,
            gold_delta=5,
            xp_after=0,
            gold_after=5,
            recorded_at=old,
        )
        for _ in range(3)
    )

    assert not held(settle(hero_fight(gold_gained=5)))
    assert held(settle(hero_fight(gold_gained=1)))


@pytest.fixture
def begun(redis_client: redis.Redis) -> UUID:
    """A fight that was begun with the hero alone."""
    session_id = new_session_id()
    begin(redis_client, session_id, HERO)
    return session_id


def both(session_id: UUID) -> Document:
    add_character(102)
    players = {str(HERO): make_participant(), "102": make_participant(gold_gained=5)}
    return make_document({**players, "-102": {}}, session_id=session_id)


def test_who_was_not_there_when_the_fight_began_has_it_held(begun: UUID) -> None:
    broken = rule("roster", 0)

    row = settle(both(begun))

    assert held(row)
    assert row.failure_detail == (
        f"rule {broken.pk}: roster in a fight, character 102: 1, limit 0"
    )
    assert Character.objects.get(pk=102).gold == 0


def test_a_roster_is_known_as_long_as_its_document_waits(
    begun: UUID, redis_client: redis.Redis
) -> None:
    rule("roster", 0)
    handoff = checked(json.dumps(both(begun)).encode(), 100_000)
    inbox.record(handoff)
    redis_client.delete(redis_keys.session(begun))

    settle_inbox()

    assert held(CombatHistory.objects.get())
    assert not redis_client.hexists(redis_keys.result(begun), "roster")


@pytest.mark.parametrize("limit", [None, 1])
def test_a_roster_counts_only_under_its_rule(limit: int | None, begun: UUID) -> None:
    if limit is not None:
        rule("roster", limit)

    assert settle(both(begun)).settlement_status == "processed"


def test_who_has_left_a_fight_and_who_joined_it_belong_to_its_roster(
    engine: SyncDispatcher, begun: UUID
) -> None:
    add_character(102)
    rule("roster", 0)
    engine.join_sync(begun, {102: None})
    engine.leave_sync(begun, 102)

    engine.finish_combat_sync(begun, {"meta": {"finish_reason": "draw"}})
    settle_inbox()

    row = CombatHistory.objects.get()
    assert row.participant_ids == [HERO, 102]
    assert row.settlement_status == "processed", row.failure_detail


@pytest.mark.parametrize("listed", [None, "", "[", "{}", "[]", '[101, "102", "wolf"]'])
def test_a_fight_that_nobody_announced_has_no_roster(
    listed: str | None, redis_client: redis.Redis
) -> None:
    rule("roster", 0)
    session_id = new_session_id()
    if listed is not None:
        key = redis_keys.session(session_id)
        redis_client.hset(key, "status", "active")
        redis_client.hset(key, "participants", listed)

    assert settle(both(session_id)).settlement_status == "processed"


def test_a_limit_grows_with_what_is_usual() -> None:
    for gold in (3, 4, 8):
        settle(hero_fight(gold_gained=gold))
    grown = rule("gold", 5, times_usual=2)
    assert held(settle(hero_fight(gold_gained=6)))

    measure_rules()

    grown.refresh_from_db()
    assert (grown.usual_p50, grown.usual_p99, grown.bound) == (4, 8, 16)
    assert not held(settle(hero_fight(gold_gained=16)))
    assert held(settle(hero_fight(gold_gained=17)))
    # The limit stays below which nobody is held.
    ReviewRule.objects.update(limit=17)
    assert not held(settle(hero_fight(gold_gained=17, xp_gained=1)))


@pytest.mark.parametrize(
    ("amount", "span", "item", "usual"),
    [
        ("xp", "fight", "", (1, 7)),
        ("xp", "day", "", (8, 8)),
        ("items", "fight", PELT, (6, 6)),
        ("items", "day", "", (12, 12)),
        ("items", "fight", "sword_epic", (None, None)),
    ],
)
def test_what_is_usual_is_measured_for_each_rule(
    amount: str, span: str, item: str, usual: tuple[int | None, int | None]
) -> None:
    for xp in (1, 7):
        settle(hero_fight(xp_gained=xp, **PELTS))
    measured = rule(amount, 10**9, span, item_template_id=item)

    measure_rules()

    measured.refresh_from_db()
    assert (measured.usual_p50, measured.usual_p99) == usual
    assert measured.measured_at is not None


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
    more = {"fight": 1, "day": 2}[span]
    assert would_hold(rule("gold", 6, span, is_on=False)) == (more, 3)
    assert would_hold(rule("items", 0, is_on=False)) == (0, 3)
    assert would_hold(rule("roster", 0, is_on=False)) is None


def test_items_are_rehearsed_too() -> None:
    settle(hero_fight(**PELTS))

    assert would_hold(rule("items", 5, item_template_id=PELT, is_on=False)) == (1, 1)
    assert would_hold(rule("items", 6, is_on=False)) == (0, 1)
    settle(hero_fight(xp_gained=1, **PELTS))
    assert would_hold(rule("items", 6, is_on=False)) == (0, 2)
    assert would_hold(rule("items", 6, "day", is_on=False)) == (1, 2)


@pytest.mark.parametrize(
    ("amount", "span", "item", "limit"),
    [("roster", "day", "", 1), ("xp", "fight", PELT, 1), ("xp", "fight", "", -1)],
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
