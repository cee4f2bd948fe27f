"""At once: the same combat twice, combats that share players, two drains."""

from __future__ import annotations

import json
import random
import re
import time
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import redis
from django.db import connection
from django.db.models import Sum
from pytest_django import Settings

from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    RejectedPayload,
)
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import checked
from persistence.savers.registry import combat_saver
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from persistence.worker.drain import settle_entries
from persistence.worker.entries import Entry
from settlement_project.celery import app
from tests.support.documents import HERO, PELT, make_document, make_participant
from tests.support.factories import add_character
from tests.support.parallel import (
    character_locked,
    in_processes,
    in_threads,
    wait_until_blocked,
)
from tests.support.waiting import wait_until
from tests.support.worker import running_worker, wait_idle

pytestmark = pytest.mark.usefixtures("world")

ROUNDS = 15


def settlements() -> int:
    return LedgerLine.objects.filter(kind="settlement").count()


def deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        (count,) = cursor.fetchone()
    return int(count)


def test_same_payload_twice_at_once_is_applied_once() -> None:
    for _ in range(ROUNDS):
        call = partial(settle_combat, make_document())
        in_threads(call, call)

    hero = Character.objects.get()
    assert (hero.xp, hero.gold) == (10 * ROUNDS, 5 * ROUNDS)
    assert settlements() == ROUNDS
    assert not RejectedPayload.objects.exists()


def claimed_twice(settings: Settings, *, again: str) -> tuple[list[Entry], list[Entry]]:
    """Two workers hold the same combat: the lease of the first ran out."""
    settings.SETTLEMENT_LEASE_MS = 100
    document = make_document()
    inbox.record(checked(document))
    first, _ = inbox.claim(10)
    if again == "as a first delivery":
        key = redis_keys.result(UUID(document["session_id"]))
        inbox.client().hdel(key, "claims")
    second: list[Entry] = []

    def is_due() -> bool:
        entries, _ = inbox.claim(10)
        second.extend(entries)
        return bool(second)

    wait_until(is_due, "the lease runs out")
    return first, second


@pytest.mark.parametrize("again", ["as a first delivery", "alone"])
def test_two_workers_over_one_combat_apply_it_once(
    settings: Settings, redis_client: redis.Redis, again: str
) -> None:
    first, second = claimed_twice(settings, again=again)
    locked: list[bool] = []

    def release_once_both_wait() -> None:
        with character_locked(HERO):
            locked.append(True)
            wait_until_blocked(2)

    def settle(entries: list[Entry]) -> None:
        wait_until(lambda: locked, "the character is locked")
        settle_entries(entries, time.monotonic(), combat_saver)

    in_threads(release_once_both_wait, partial(settle, first), partial(settle, second))

    assert Character.objects.get().gold == 5
    assert settlements() == 1
    assert CombatHistory.objects.get().attempts == 0
    assert not redis_client.exists(redis_keys.INBOX)


def test_two_bodies_of_one_session_at_once_are_one_combat_and_one_conflict() -> None:
    for _ in range(ROUNDS):
        one = make_document(note="one")
        other = {**one, "note": "other"}
        in_threads(partial(settle_combat, one), partial(settle_combat, other))
        # A conflict that met a held lease waits for the next drain.
        settle_inbox()

        row = CombatHistory.objects.get(pk=one["session_id"])
        conflict = RejectedPayload.objects.get(session_id=row.pk)
        kept = json.loads(bytes(conflict.raw or b""))
        assert sorted([row.document()["note"], kept["note"]]) == ["one", "other"]

    assert CombatHistory.objects.count() == ROUNDS
    assert Character.objects.get().gold == 5 * ROUNDS


def test_storm_of_duplicates_from_eight_processes_is_applied_once(
    tmp_path: Path,
) -> None:
    document = make_document()
    shuffled = dict(reversed(document.items()))
    inputs = [[document, shuffled, json.dumps(document)] * 8 + [shuffled]] * 8

    in_processes("settle_combat(argument)", inputs, tmp_path)

    assert CombatHistory.objects.get().settlement_status == "processed"
    assert Character.objects.get().gold == 5
    assert settlements() == 1
    assert not RejectedPayload.objects.exists()


def brawl(rng: random.Random, players: list[int]) -> Document:
    """Four of the players in any order; everybody takes one gold from the next."""
    four = rng.sample(players, 4)
    parts = {
        str(player): make_participant(
            xp_gained=1,
            gold_gained=rng.choice([-2, 1, 3]),
            items_gained=[{"item_template_id": PELT, "qty": 1}],
        )
        for player in four
    }
    return make_document(parts)


def test_combats_sharing_players_in_any_order_never_deadlock(tmp_path: Path) -> None:
    players = list(range(201, 209))
    for player in players:
        add_character(player, gold=1000)
    rng = random.Random(17)
    inputs = [[brawl(rng, players) for _ in range(40)] for _ in range(6)]
    before = deadlocks()

    logs = in_processes("settle_combat(argument)", inputs, tmp_path)

    assert deadlocks() == before
    assert not any("rolled back" in log for log in logs)
    combats = [combat for each in inputs for combat in each]
    processed = CombatHistory.objects.filter(settlement_status="processed")
    assert processed.count() == len(combats)
    for player in players:
        parts = [
            combat["participants"][str(player)]["changes"]
            for combat in combats
            if str(player) in combat["participants"]
        ]
        row = Character.objects.get(pk=player)
        assert row.xp == len(parts)
        assert row.gold == 1000 + sum(part["gold_gained"] for part in parts)
        pelts = InventoryItem.objects.filter(character_id=player)
        assert pelts.aggregate(Sum("quantity"))["quantity__sum"] == len(parts)


def test_inbox_drained_by_two_workers_is_settled_once_and_by_both(
    tmp_path: Path, redis_client: redis.Redis
) -> None:
    for _ in range(300):
        inbox.record(checked(make_document()))

    logs = in_processes(
        "settle_inbox()",
        [[None], [None]],
        tmp_path,
        SETTLEMENT_BATCH_SIZE="10",
        SETTLEMENT_DRAIN_SECONDS="60",
    )

    shares = [
        sum(map(int, re.findall(r"outcome=processed .*combats=(\d+)", log)))
        for log in logs
    ]
    assert sum(shares) == 300
    assert min(shares) > 0, shares
    assert settlements() == 300
    assert Character.objects.get().gold == 5 * 300
    assert not redis_client.exists(redis_keys.INBOX)


def test_processes_of_a_worker_that_is_given_a_pool_share_no_connection(
    world: None, tmp_path: Path
) -> None:
    fights = [make_document() for _ in range(60)]
    with running_worker(tmp_path, SETTLEMENT_DATABASE_POOL="4") as worker:
        for document in fights:
            app.send_task("settle_combat", args=[json.dumps(document)])
        wait_idle()
    told = worker.output()
    assert CombatHistory.objects.filter(settlement_status="processed").count() == 60
    assert "transaction status" not in told
    assert "unexpected result" not in told
    assert "given up" not in told
