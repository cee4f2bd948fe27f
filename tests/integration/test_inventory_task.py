"""Inventory saves through the task: repeated, at once, killed anywhere."""

from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from combat_history.models import InventoryItem, LedgerLine, ParkedOperation
from persistence.contract import redis_keys
from persistence.tasks import settle_combat, task_sync_state
from persistence.worker import inbox
from settlement_project.celery import app
from tests.support import crash
from tests.support.crash import When, every_crash
from tests.support.documents import (
    HERO,
    PELT,
    POTION,
    SAMPLE_END,
    make_document,
    make_participant,
    op,
)
from tests.support.factories import add_character, add_item
from tests.support.operations import (
    parked,
    pieces,
    queue,
    queued,
    rows,
    save_unconfirmed,
    tables,
)
from tests.support.parallel import (
    character_locked,
    in_processes,
    in_threads,
    wait_until_blocked,
)
from tests.support.reconciling import found
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world")

SAVE = "from persistence.tasks import task_sync_state; task_sync_state(*argument)"

save = partial(task_sync_state, "inventory", HERO)


def intents() -> list[bytes]:
    return inbox.client().zrange(redis_keys.INTENTS, 0, -1)  # type: ignore[return-value]


def a_day(potion: int) -> list[dict[str, Any]]:
    """Rows made, changed and emptied; one operation that waits, one that waits for it.

    Leaves three pelts, one potion in the bag and three on the belt.
    """
    return [
        op("pelts", "add", item_template_id=PELT, qty=4),
        op("sell", "remove", inventory_id="op:pelts", qty=1),
        op("part", "split", inventory_id=potion, qty=2),
        op("sip", "remove", inventory_id="op:part", qty=1),
        op("sword", "add", item_template_id="sword_epic", qty=1),
        op("break", "remove", inventory_id="op:sword", qty=1),
        op("lost", "remove", inventory_id=7, qty=1),
        op("after", "unequip", inventory_id=7),
    ]


def holds_a_day(char_id: int = HERO) -> bool:
    held = Counter((template, qty) for template, qty, _ in rows(char_id).values())
    expected = Counter([(PELT, 3), ("hp_pot_small", 3), ("hp_pot_small", 1)])
    return held == expected and parked(char_id) == {
        "lost": "item_gone",
        "after": "blocked",
    }


def add_player(char_id: int) -> int:
    """With five potions on the belt, of this id."""
    add_character(char_id)
    add_item(
        char_id,
        "hp_pot_small",
        potion := char_id * 10,
        quantity=5,
        is_equipped=True,
        slot="belt_1",
    )
    return potion


def test_the_task_saves_trims_and_strikes_the_intent_out() -> None:
    add_player(200)
    queue(*a_day(2000), char_id=200)
    task_sync_state("inventory", 200)
    assert holds_a_day(200)
    assert queued(200) == []
    assert intents() == []
    before = tables()
    task_sync_state("inventory", 200)
    assert tables() == before
    assert found() == {}


def test_one_list_saved_by_four_processes_is_applied_once(tmp_path: Path) -> None:
    players = range(200, 206)
    for char_id in players:
        queue(*a_day(add_player(char_id)), char_id=char_id)
    each = [["inventory", char_id] for char_id in players]
    in_processes(SAVE, [each, each, each[::-1], each[::-1]], tmp_path)
    for char_id in players:
        assert holds_a_day(char_id)
        assert queued(char_id) == []
    assert LedgerLine.objects.filter(kind="operation").count() == len(players)
    assert set(ParkedOperation.objects.values_list("times_seen", flat=True)) == {1}
    assert found() == {}


def test_saves_that_meet_at_the_lock_apply_in_turn() -> None:
    queue(op("first", "add", item_template_id=PELT, qty=1))

    with ThreadPoolExecutor(1) as pool, character_locked(HERO):
        both = pool.submit(in_threads, save, save)
        wait_until_blocked(2)
        # Both have read the list; this comes after.
        queue(op("second", "add", item_template_id=PELT, qty=2))
    both.result()
    save()
    assert pieces(PELT) == 3
    assert queued() == []
    assert found() == {}


def test_fights_and_operations_of_one_player_at_once() -> None:
    InventoryItem.objects.filter(pk=POTION).update(quantity=100, opening_quantity=100)
    number = itertools.count()
    part = make_participant(
        gold_gained=5,
        items_consumed=[{"inventory_id": POTION, "qty": 1}],
        items_gained=[{"item_template_id": PELT, "qty": 1}],
    )

    def fight() -> None:
        for second in range(10):
            document = make_document(
                {str(HERO): part}, end_timestamp=SAMPLE_END + second
            )
            settle_combat(document)

    def operate() -> None:
        for _ in range(10):
            queue(
                op(f"r{next(number)}", "remove", inventory_id=POTION, qty=2),
                op(f"a{next(number)}", "add", item_template_id=PELT, qty=1),
            )
            save()

    in_threads(fight, operate, operate)
    save()
    assert parked() == {}
    assert pieces("hp_pot_small") == 100 - 10 - 2 * 20
    assert pieces(PELT) == 10 + 20
    assert len([r for r in rows().values() if r[0] == PELT]) == 1
    assert found() == {}


@pytest.mark.parametrize("when", When)
def test_killed_anywhere_a_save_is_done_once(when: When) -> None:
    player = itertools.count(1000)
    for at in every_crash([when]):
        char_id = next(player)
        queue(*a_day(add_player(char_id)), char_id=char_id)

        def work(_: crash.Tell, char_id: int = char_id) -> None:
            inbox.client.cache_clear()
            inbox.script.cache_clear()
            task_sync_state("inventory", char_id)

        connections.close_all()
        outcome = crash.run(work, at)
        task_sync_state("inventory", char_id)

        assert holds_a_day(char_id), at
        assert queued(char_id) == [], at
        if not outcome.is_killed:
            break
    assert at.operation > 8, "there was something to die between"
    assert set(ParkedOperation.objects.values_list("times_seen", flat=True)) == {1}
    assert found() == {}


def test_committed_and_never_confirmed_is_stepped_over() -> None:
    queue(op("first", "add", item_template_id=PELT, qty=1))
    save_unconfirmed()
    queue(op("second", "add", item_template_id=PELT, qty=1))
    save()
    assert pieces(PELT) == 2
    assert queued() == []


def test_more_than_one_save_can_hold_is_saved_to_the_end(worker: object) -> None:
    queue(*(op(f"s{n}", "add", item_template_id=PELT, qty=1) for n in range(1100)))

    app.send_task("task_sync_state", args=["inventory", HERO])
    wait_until(lambda: not queued() and not intents(), "the list is saved")
    assert pieces(PELT) == 1100
    assert found() == {}
