"""Undoing twice at once, beside a settlement, and killed in between: done once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection, connections

from combat_history.actions.undo import (
    SkipReason,
    UndoResult,
)
from combat_history.models import (
    AppliedOperation,
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
)
from persistence.contract import redis_keys
from persistence.contract.outcome import undone_tombstone
from persistence.tasks import settle_combat
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.crash import Tell, When, every_crash, run
from tests.support.documents import HERO, PELT, SAMPLE_END, hero_fight, sample_document
from tests.support.lookups import id_of
from tests.support.parallel import in_threads, wait_until_blocked
from tests.support.reconciling import found, loot
from tests.support.undoing import (
    entries,
    everything,
    permitted,
    undo,
    world_now,
)
from tests.support.worker import database_url


@pytest.fixture
def admin(db: None) -> User:
    return permitted()


def test_two_at_once_undo_once(settle_here: Settle, admin: User) -> None:
    before = world_now()
    document = sample_document()
    settle_here(document)
    done: list[UndoResult] = []

    in_threads(*[lambda: done.append(undo(id_of(document), admin)) for _ in range(4)])

    assert Counter(one.skipped for one in done) == {None: 1, SkipReason.UNDONE: 3}
    assert world_now() == before
    assert LedgerLine.objects.filter(kind="compensation").count() == 1
    assert sorted(outcome for outcome, _ in entries(id_of(document))) == [
        "done",
        *["skipped"] * 3,
    ]
    assert found() == {}


def test_beside_settlements_of_the_same_player_nothing_is_lost(
    settle_here: Settle, admin: User
) -> None:
    rounds = 8
    undone = [
        hero_fight(end_timestamp=SAMPLE_END + n, gold_gained=10, xp_gained=1)
        for n in range(rounds)
    ]
    settle_here(*undone)
    more = [
        hero_fight(
            end_timestamp=SAMPLE_END + 100 + n, gold_gained=1, items_gained=[loot(PELT)]
        )
        for n in range(rounds)
    ]

    in_threads(
        lambda: [settle_combat(document) for document in more],
        lambda: [undo(id_of(document), admin) for document in undone],
    )

    hero = Character.objects.get()
    assert (hero.xp, hero.gold) == (0, rounds)
    assert InventoryItem.objects.get(item_template_id=PELT).quantity == rounds
    assert found() == {}


def test_it_waits_for_the_player_and_plans_on_what_it_finds(
    settle_here: Settle, admin: User
) -> None:
    document = hero_fight(gold_gained=10)
    settle_here(document)

    def undo_here() -> UndoResult:
        try:
            return undo(id_of(document), admin, "record")
        finally:
            connection.close()

    with psycopg.connect(database_url()) as other, ThreadPoolExecutor(1) as pool:
        other.execute("UPDATE characters SET gold = 4 WHERE id = %s", [HERO])
        waiting = pool.submit(undo_here)
        wait_until_blocked(1)
        other.commit()
        done = waiting.result(10)

    assert done.undo is not None
    assert [(s.wanted, s.applied) for s in done.undo.shortages] == [(10, 4)]
    assert Character.objects.get().gold == 0


def undo_aside(session_id: UUID, admin: User, tell: Tell) -> None:
    undo(session_id, admin)


def test_killed_at_any_point_it_is_done_or_not_and_can_be_asked_for_again(
    settle_here: Settle, admin: User
) -> None:
    before = world_now()
    was_undone = set()
    for at in every_crash([When.AFTER]):
        document = sample_document()
        settle_here(document)
        settled = everything()
        connections.close_all()
        inbox.client.cache_clear()

        crashed = run(partial(undo_aside, id_of(document), admin), at)

        is_undone = CombatHistory.objects.get(pk=id_of(document)).compensated_at
        was_undone.add(bool(is_undone))
        assert [outcome for outcome, _ in entries(id_of(document))] == (
            ["done"] if is_undone else []
        )
        if not is_undone:
            assert everything() == settled
        undo(id_of(document), admin)
        assert world_now() == before
        told = inbox.client().get(redis_keys.tombstone(id_of(document)))
        assert told == undone_tombstone(1)
        if not crashed.is_killed:
            break
    assert at.operation > 8
    assert was_undone == {False, True}
    assert found() == {}


def test_the_database_refuses_a_second_counter_line(
    settle_here: Settle, admin: User
) -> None:
    """Though somebody takes the marks off, nothing is given twice."""
    document = sample_document()
    settle_here(document)
    undo(id_of(document), admin)
    CombatHistory.objects.update(compensated_at=None)
    AppliedOperation.objects.all().delete()
    before = everything()

    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        undo(id_of(document), admin, "record")

    assert refusal.value.diag.constraint_name == "settlement_ledger_once"
    assert everything() == before
    assert entries(id_of(document))[-1][0] == "failed"
