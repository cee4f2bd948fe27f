"""The replay, from the admin's button to the settled combat."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from combat_history.actions.replay import replay
from combat_history.models import (
    AuditEntry,
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    Status,
)
from persistence.contract import redis_keys
from persistence.protocols import Outcome, Verdict
from persistence.savers.cleanup_saver import CleanupStateSaver
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.admin import (
    LIST_URL,
    REASON,
    audit,
    in_inbox,
    logged_in,
    post_replay,
    status,
    told,
    unknown_loot,
)
from tests.support.documents import HERO, make_document
from tests.support.factories import add_template
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def assert_applied_once(session_id: UUID) -> None:
    hero = Character.objects.get(pk=HERO)
    assert (hero.xp, hero.gold) == (10, 5)
    assert status(session_id) == Status.PROCESSED
    assert LedgerLine.objects.filter(session_id=session_id).count() == 1
    scales = InventoryItem.objects.filter(item_template_id="dragon_scale")
    assert [item.quantity for item in scales] == [3]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Results of calls that start at the same time, each on its own connection."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            barrier.wait(10)
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(run, call) for call in calls]
        return [future.result(30) for future in futures]


def test_admin_fixes_the_cause_and_the_replay_settles_once(
    failed: UUID, operator: User
) -> None:
    client = logged_in(operator)
    page = client.get(f"{LIST_URL}{failed}/change/").content.decode()
    assert "unknown item" in page
    assert "dragon_scale" in page
    button = re.search(r'href="([^"]*/replay/[^"]*)"', page)
    assert button is not None
    added = client.post(
        "/admin/combat_history/itemtemplate/add/",
        {"id": "dragon_scale", "name": "Чешуя дракона", "stackable": "on"},
    )
    assert added.status_code == 302
    confirmation = client.get(button[1]).content.decode()
    assert str(failed) in confirmation
    assert "unknown item" in confirmation

    response = post_replay(client, failed)

    assert response["Location"] == f"{LIST_URL}{failed}/change/"
    assert told(response) == ["1 combat was put back into the queue."]
    assert audit(failed) == [
        f"replay done: was failed (unknown_item); reason: {REASON}"
    ]
    entry = AuditEntry.objects.get(target_id=str(failed))
    assert (entry.actor_id, entry.actor_name) == (operator.pk, operator.username)
    assert entry.request_id == response["X-Request-ID"]
    settle_inbox()
    assert_applied_once(failed)
    combat = CombatHistory.objects.get(pk=failed)
    assert (combat.failure_code, combat.failure_detail) == (None, None)
    assert not in_inbox(failed)


def test_worker_settles_a_replayed_combat_by_itself(
    settle: Settle, operator: User
) -> None:
    document = unknown_loot()
    settle(document)
    session_id = UUID(document["session_id"])
    assert status(session_id) == Status.FAILED
    add_template("dragon_scale")
    # A ring within a second of another may be taken for answered; then beat drains.
    wait_until(lambda: not inbox.client().exists(redis_keys.DOORBELL), "it is silent")

    post_replay(logged_in(operator), session_id)

    wait_until(lambda: status(session_id) == Status.PROCESSED, "it is processed")
    assert_applied_once(session_id)


def test_action_of_the_list_confirms_before_it_replays(
    failed: UUID, settle_here: Settle, operator: User
) -> None:
    fine = make_document()
    settle_here(fine)
    client = logged_in(operator)
    data = {
        "action": "replay_selected",
        "_selected_action": [str(failed), fine["session_id"]],
    }
    page = client.post(LIST_URL, data).content.decode()
    assert re.findall(r'name="session_id" value="([^"]*)"', page) == [str(failed)]
    assert "1 combat is skipped: already settled." in page
    assert status(failed) == Status.FAILED
    assert audit(failed) == []


def test_confirmation_shows_what_is_at_stake(
    settle_here: Settle, operator: User
) -> None:
    documents = [unknown_loot(end_timestamp=1_735_460_000 + n) for n in range(23)]
    # What is given to an AI is nobody's, and amounts of a malformed document are none.
    documents[0]["participants"]["goblin_1"] = {"changes": {"xp_gained": 999}}
    documents[1]["participants"][str(HERO)]["changes"]["xp_gained"] = "many"
    settle_here(*documents)
    data = {
        "action": "replay_selected",
        "_selected_action": [document["session_id"] for document in documents],
    }
    response = logged_in(operator).post(LIST_URL, data)

    page = response.content.decode()
    assert page.count('name="session_id"') == 23
    assert page.count('class="combat-id"') == 20
    assert "… and 3 more" in page
    assert (response.context["xp"], response.context["gold"]) == (22 * 10, 23 * 5)
    assert [(cause.label, n) for cause, n in response.context["causes"]] == [
        ("unknown item", 21),
        ("invalid document", 2),
    ]


def test_second_click_changes_nothing(failed: UUID, operator: User) -> None:
    add_template("dragon_scale")
    client = logged_in(operator)
    post_replay(client, failed)
    response = post_replay(client, failed)
    assert told(response)[1:] == ["1 combat is skipped: already in the queue."]
    settle_inbox()
    response = post_replay(client, failed)
    assert told(response)[-1] == "1 combat is skipped: already settled."
    settle_inbox()
    assert_applied_once(failed)
    assert [message.split(";")[0] for message in audit(failed)] == [
        "replay done: was failed (unknown_item)",
        "replay skipped: pending",
        "replay skipped: processed",
    ]


def test_two_operators_at_once_replay_once(failed: UUID, operator: User) -> None:
    other = User.objects.create_superuser("other")
    results = at_once(
        partial(replay, [failed], actor=operator, reason=REASON),
        partial(replay, [failed], actor=other, reason=REASON),
    )
    assert sorted(len(result.replayed) for result in results) == [0, 1]
    assert sorted(audit(failed)) == [
        f"replay done: was failed (unknown_item); reason: {REASON}",
        f"replay skipped: pending; reason: {REASON}",
    ]


def test_replay_racing_a_redelivery_settles_once(
    settle_here: Settle, operator: User
) -> None:
    rounds = 15
    documents = [unknown_loot() for _ in range(rounds)]
    settle_here(*documents)
    add_template("dragon_scale")
    for document in documents:
        session_id = UUID(document["session_id"])
        at_once(
            partial(replay, [session_id], actor=operator, reason=REASON),
            partial(settle_combat, document),
        )
        settle_inbox()
        assert status(session_id) == Status.PROCESSED
        assert not in_inbox(session_id)
    hero = Character.objects.get(pk=HERO)
    assert (hero.xp, hero.gold) == (10 * rounds, 5 * rounds)
    assert LedgerLine.objects.filter(kind="settlement").count() == rounds


def test_replay_gives_a_poisonous_combat_all_its_tries_again(
    failed: UUID, operator: User
) -> None:
    CombatHistory.objects.filter(pk=failed).update(
        failure_code="poison", attempts=6, due_at=timezone.now() + timedelta(hours=1)
    )
    inbox.client().set(redis_keys.tombstone(failed), "stale")
    add_template("dragon_scale")
    replay([failed], actor=operator, reason=REASON)
    combat = CombatHistory.objects.get(pk=failed)
    assert combat.attempts == 0
    assert combat.due_at <= timezone.now()
    assert combat.failure_code == "poison"
    assert inbox.client().get(redis_keys.tombstone(failed)) is None
    settle_inbox()
    assert_applied_once(failed)


def test_replay_breaks_the_lease_of_a_dead_worker(failed: UUID, operator: User) -> None:
    add_template("dragon_scale")
    inbox.put([failed])
    (entry,) = inbox.claim(10)[0]
    replay([failed], actor=operator, reason=REASON)
    inbox.finish([(entry, Verdict(failed, Outcome.FAILED))])
    assert in_inbox(failed)
    settle_inbox()
    assert_applied_once(failed)


@pytest.fixture
def without_redis(settings: Settings) -> Iterator[Callable[[], None]]:
    """Redis at a closed port until the test calls this back."""
    url = settings.REDIS_URL

    def forget() -> None:
        inbox.client.cache_clear()
        inbox.script.cache_clear()

    def restore() -> None:
        settings.REDIS_URL = url
        forget()

    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    forget()
    yield restore
    restore()


def test_without_redis_the_replay_stands_and_the_sweep_brings_it(
    failed: UUID, operator: User, without_redis: Callable[[], None]
) -> None:
    add_template("dragon_scale")
    response = post_replay(logged_in(operator), failed)
    assert [line.split(".")[0] for line in told(response)] == [
        "1 combat was put back into the queue",
        "Redis does not answer",
    ]
    assert status(failed) == Status.PENDING
    without_redis()
    CombatHistory.objects.update(due_at=timezone.now() - timedelta(minutes=1))
    assert CleanupStateSaver().sweep()["pending_returned"] == 1
    settle_inbox()
    assert_applied_once(failed)


def test_history_button_shows_the_replay(failed: UUID, operator: User) -> None:
    replay([failed], actor=operator, reason="Fixed <b>by hand</b> today")
    url = reverse("admin:combat_history_combathistory_history", args=[failed])
    page = logged_in(operator).get(url, follow=True).content.decode()
    assert "was failed (unknown_item)" in page
    assert "Fixed &lt;b&gt;by hand&lt;/b&gt; today" in page
