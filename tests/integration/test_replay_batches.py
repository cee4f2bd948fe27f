"""Replays of hundreds of combats at once: exactly once, whatever happens to them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.utils import timezone

from combat_history.actions import batches
from combat_history.actions.batch_tasks import replay_batches
from combat_history.actions.batches import (
    CHUNK,
    MAX_QUEUED,
    Caution,
    Verb,
    decide,
)
from combat_history.actions.replay import MAX_COMBATS, replay
from combat_history.actions.void import void
from combat_history.insight.batch_progress import Result, counts, pace, results
from combat_history.insight.failures import Cause, members
from combat_history.models import (
    AuditEntry,
    Character,
    CombatHistory,
    LedgerLine,
    ReplayBatch,
    ReplayBatchItem,
    ReplayRequest,
    Status,
)
from persistence.tasks import settle_inbox, sweep
from persistence.worker import inbox, rings
from settlement_project.celery import app
from tests.support import crash
from tests.support.admin import audit, status, with_status
from tests.support.batches import REASON, add_many_failed, make_batch, numbers, run
from tests.support.crash import Tell, When
from tests.support.documents import HERO
from tests.support.factories import add_template
from tests.support.parallel import in_threads
from tests.support.worker import CeleryProcess, database_url, wait_idle

pytestmark = pytest.mark.usefixtures("world")


def assert_applied_once(combats: int) -> None:
    hero = Character.objects.get(pk=HERO)
    assert (hero.xp, hero.gold) == (10 * combats, 5 * combats)
    lines = LedgerLine.objects.filter(kind="settlement")
    assert lines.count() == combats


def waiting(batch: ReplayBatch) -> int:
    return ReplayBatchItem.objects.filter(batch=batch, state="waiting").count()


def test_a_group_beyond_one_replay_is_settled_in_the_background(admin: User) -> None:
    ids = add_many_failed(MAX_COMBATS + 20)
    hopeless = add_many_failed(2, "of nowhere")
    add_template("dragon_scale")

    batch = make_batch(admin)
    assert batch.total == MAX_COMBATS + 22
    void(ids[-1:], actor=admin, reason="it was never fought")
    late = add_many_failed(1)
    run(batch)

    assert (batch.state, batch.detail) == ("finished", "")
    replayed = MAX_COMBATS + 19
    assert numbers(batch) == {"replayed": replayed, "failed": 2, "skipped": 1}
    assert_applied_once(replayed)
    assert [status(pk) for pk in (ids[0], ids[-1], *hopeless, *late)] == [
        "processed",
        "voided",
        "failed",
        "failed",
        "failed",
    ]
    (skipped,) = results(batch, Result.SKIPPED, 0, 10)
    assert (skipped.session_id, skipped.why) == (ids[-1], "voided")
    failed = results(batch, Result.FAILED, 0, 10)
    assert {told.session_id for told in failed} == set(hopeless)
    assert all(told.why.startswith("unknown_item: ") for told in failed)
    # One decision is one entry, whatever it is about.
    assert audit(ids[0]) == []
    assert audit(batch.pk) == [f"replay done: 522 combats; reason: {REASON}"]
    asked = ReplayRequest.objects.get(session_id=ids[0])
    assert (asked.batch_id, asked.actor_name) == (batch.pk, "anna")


def test_results_come_in_the_order_of_the_fights_page_by_page(admin: User) -> None:
    ids = add_many_failed(7)
    add_template("dragon_scale")
    with_status(Status.PROCESSED)
    batch = make_batch(admin, CombatHistory.objects.all())
    assert batch.total == 7
    before = results(batch, None, 0, 4)
    assert [told.session_id for told in before] == ids[:4]
    assert {told.result for told in before} == {Result.WAITING}
    run(batch)

    for result in (None, Result.REPLAYED):
        first = results(batch, result, 0, 4)
        rest = results(batch, result, first[-1].key, 4)
        assert {told.session_id for told in first + rest} == set(ids)
        assert {told.result for told in first + rest} == {Result.REPLAYED}


def test_a_batch_has_few_replays_queued_at_a_time(admin: User) -> None:
    add_many_failed(MAX_QUEUED + CHUNK)
    batch = make_batch(admin)
    moved = [batches.advance(batch.pk) for _ in range(4)]

    assert moved == [True, True, False, False]
    assert numbers(batch) == {"under_way": MAX_QUEUED, "waiting": CHUNK}


def test_a_canary_is_answered_before_the_others_are_replayed(admin: User) -> None:
    add_many_failed(20)
    add_template("dragon_scale")
    batch = make_batch(admin, caution=Caution(5, 3))

    assert [batches.advance(batch.pk) for _ in range(2)] == [True, False]
    assert numbers(batch) == {"under_way": 5, "waiting": 15}
    assert pace(batch, counts(batch)) is None
    settle_inbox()
    assert batches.advance(batch.pk)
    assert numbers(batch) == {"replayed": 5, "under_way": 15}
    seen = pace(batch, counts(batch))
    assert seen is not None
    assert seen.left.total_seconds() == pytest.approx(15 * 60 / seen.per_minute)
    assert run(batch).state == "finished"


def test_equal_failures_in_a_row_stop_it(admin: User) -> None:
    hopeless = add_many_failed(9, "of nowhere")
    batch = run(make_batch(admin, caution=Caution(5, 3)))

    assert batch.state == "stopped"
    assert numbers(batch) == {"failed": 5, "skipped": 4}
    detail = "equal failures: unknown_item: of nowhere"
    assert (batch.detail, status(hopeless[-1])) == (detail, "failed")
    assert audit(batch.pk)[1:] == [f"replay failed: {detail}; reason: {REASON}"]


def test_failures_that_differ_or_are_interrupted_stop_nothing(admin: User) -> None:
    add_template("dragon_scale")
    for loot in ("of nowhere", "dragon_scale", "ash"):
        add_many_failed(2, loot)
    batch = run(make_batch(admin, caution=Caution(4, 3)))

    assert batch.state == "finished"
    assert numbers(batch) == {"replayed": 2, "failed": 4}


def test_it_is_over_when_its_last_replay_is_answered(admin: User) -> None:
    add_many_failed(1)
    batch = make_batch(admin)
    assert batches.advance(batch.pk)
    assert not batches.advance(batch.pk)
    batch.refresh_from_db()
    assert not batch.is_over

    settle_inbox()
    assert batches.advance(batch.pk)
    batch.refresh_from_db()
    assert batch.is_over


def test_a_pause_stops_it_and_a_resume_finishes_it(admin: User) -> None:
    add_many_failed(CHUNK + 30)
    add_template("dragon_scale")
    batch = make_batch(admin)
    batches.advance(batch.pk)

    assert decide(batch.pk, Verb.PAUSE, actor=admin, reason=REASON)
    assert not decide(batch.pk, Verb.PAUSE, actor=admin, reason=REASON)
    replay_batches()
    assert not batches.advance(batch.pk)
    settle_inbox()
    assert numbers(batch) == {"replayed": CHUNK, "waiting": 30}

    assert decide(batch.pk, Verb.RESUME, actor=admin, reason=REASON)
    assert run(batch).state == "finished"
    assert_applied_once(CHUNK + 30)
    assert audit(batch.pk)[1:] == [
        f"pause done: ; reason: {REASON}",
        f"pause skipped: is paused; reason: {REASON}",
        f"resume done: ; reason: {REASON}",
    ]


def test_what_a_cancelled_batch_has_not_begun_is_free_for_another(admin: User) -> None:
    add_many_failed(CHUNK + 5)
    add_template("dragon_scale")
    batch = make_batch(admin)
    batches.advance(batch.pk)

    assert decide(batch.pk, Verb.CANCEL, actor=admin, reason=REASON)
    replay_batches()
    settle_inbox()

    batch.refresh_from_db()
    assert (batch.state, batch.finished_at is not None) == ("cancelled", True)
    assert numbers(batch) == {"replayed": CHUNK, "skipped": 5}
    assert {told.why for told in results(batch, Result.SKIPPED, 0, 9)} == {"cancelled"}
    for verb in Verb:
        assert not decide(batch.pk, verb, actor=admin, reason=REASON)
    other = make_batch(admin)
    assert other.total == 5
    run(other)
    assert_applied_once(CHUNK + 5)


@pytest.mark.parametrize(
    "lose",
    [
        lambda user: user.user_permissions.clear(),
        lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
        lambda user: user.delete(),
    ],
    ids=["permission taken", "not active", "deleted"],
)
def test_it_stops_when_its_actor_may_not_replay_any_more(
    admin: User, lose: Callable[[User], object]
) -> None:
    ids = add_many_failed(CHUNK + 3)
    add_template("dragon_scale")
    batch = make_batch(admin)
    batches.advance(batch.pk)

    lose(admin)
    run(batch)
    settle_inbox()

    assert (batch.state, batch.detail) == ("stopped", "no permission any more")
    assert numbers(batch) == {"replayed": CHUNK, "skipped": 3}
    assert [status(pk) for pk in ids[-3:]] == ["failed"] * 3
    (entry,) = AuditEntry.objects.filter(outcome="denied")
    assert (entry.actor_name, entry.target_id) == ("anna", str(batch.pk))


def test_without_the_permission_nothing_is_made_or_decided(
    admin: User, stranger: User
) -> None:
    add_many_failed(2)
    batch = make_batch(admin)
    batch_id = uuid4()
    with pytest.raises(PermissionDenied):
        batches.create(
            CombatHistory.objects.all(),
            {"kind": "list", "list": ""},
            batch_id=batch_id,
            actor=stranger,
            reason=REASON,
        )
    for verb in Verb:
        with pytest.raises(PermissionDenied):
            decide(batch.pk, verb, actor=stranger, reason=REASON)

    assert ReplayBatch.objects.get().state == "running"
    assert waiting(batch) == 2
    denied = f"denied: no permission; reason: {REASON}"
    assert audit(batch_id) == [f"replay {denied}"]
    assert audit(batch.pk)[1:] == [f"{verb} {denied}" for verb in Verb]


def test_sent_twice_at_once_it_is_one_batch(admin: User) -> None:
    add_many_failed(5)
    batch_id = uuid4()
    send = partial(
        batches.create,
        members(Cause("unknown_item")),
        {"kind": "group", "code": "unknown_item"},
        batch_id=batch_id,
        actor=admin,
        reason=REASON,
    )
    in_threads(send, send)

    assert send() == 5
    assert ReplayBatch.objects.get().total == 5
    assert sorted(audit(batch_id)) == [
        f"replay done: 5 combats; reason: {REASON}",
        *[f"replay skipped: is made already; reason: {REASON}"] * 2,
    ]


def test_two_batches_at_once_share_the_combats(admin: User) -> None:
    add_many_failed(300)
    add_template("dragon_scale")

    def make() -> None:
        batches.create(
            CombatHistory.objects.all(),
            {"kind": "list", "list": ""},
            batch_id=uuid4(),
            actor=admin,
            reason=REASON,
        )

    in_threads(make, make, make)

    assert sum(ReplayBatch.objects.values_list("total", flat=True)) == 300
    assert "nothing that failed is chosen" in {
        entry.detail for entry in AuditEntry.objects.filter(outcome="skipped")
    }
    for batch in ReplayBatch.objects.all():
        run(batch)
    assert_applied_once(300)


def test_advanced_by_several_at_once_nothing_is_doubled(admin: User) -> None:
    add_many_failed(3 * CHUNK)
    add_template("dragon_scale")
    batch = make_batch(admin)

    in_threads(replay_batches, replay_batches, replay_batches)
    run(batch)

    assert numbers(batch) == {"replayed": 3 * CHUNK}
    assert_applied_once(3 * CHUNK)
    assert ReplayRequest.objects.filter(batch_id=batch.pk).count() == 3 * CHUNK


def test_killed_anywhere_in_a_chunk_the_batch_is_finished(admin: User) -> None:
    """Between the commit and Redis most of all: then the sweep brings the combats.

    The chunk is a canary: what it led to is read from the answers, by whoever goes on.
    """
    add_template("dragon_scale")
    combats = 0
    windows = set()
    for point in crash.every_crash([When.AFTER]):
        add_many_failed(2)
        combats += 2
        batch = make_batch(admin, caution=Caution(1, 1))
        batch_id = batch.pk

        def advance(_: Tell) -> None:
            inbox.client.cache_clear()
            inbox.script.cache_clear()
            batches.advance(batch_id)  # noqa: B023 -- within this round

        connections.close_all()
        ended = crash.run(advance, point)
        reopened = CombatHistory.objects.filter(settlement_status=Status.PENDING)
        in_redis = inbox.client().zcard("combat:inbox")
        windows.add((reopened.count(), in_redis))
        reopened.update(due_at=timezone.now() - timedelta(minutes=1))

        sweep()
        run(batch)
        assert numbers(batch) == {"replayed": 2}, point
        assert_applied_once(combats)
        if not ended.is_killed:
            break
    assert {(0, 0), (1, 0), (1, 1)} <= windows


def test_a_combat_that_is_locked_keeps_the_batch_waiting(admin: User) -> None:
    (session_id,) = add_many_failed(1)
    add_template("dragon_scale")
    batch = make_batch(admin)
    with psycopg.connect(database_url()) as other:
        other.execute(
            "SELECT 1 FROM combat_history WHERE session_id = %s FOR UPDATE",
            [session_id],
        )
        replay_batches()
        assert numbers(batch) == {"waiting": 1}
    assert run(batch).state == "finished"
    assert_applied_once(1)


def test_an_error_that_stays_stops_the_batch_and_is_seen(admin: User) -> None:
    (session_id,) = add_many_failed(1)
    batch = make_batch(admin)
    ReplayRequest.objects.create(
        session_id=session_id, batch_id=batch.pk, actor_name="x", state="failed"
    )
    run(batch)

    assert batch.state == "stopped"
    assert "replay_requests_once_in_batch" in batch.detail
    assert status(session_id) == "failed"
    assert audit(batch.pk)[-1].startswith("replay failed: IntegrityError")


def test_what_was_replayed_by_hand_meanwhile_is_skipped(admin: User) -> None:
    ids = add_many_failed(2)
    add_template("dragon_scale")
    batch = make_batch(admin)
    replay(ids[:1], actor=admin, reason=REASON)
    run(batch)

    assert numbers(batch) == {"replayed": 1, "skipped": 1}
    (skipped,) = results(batch, Result.SKIPPED, 0, 9)
    assert (skipped.session_id, skipped.why) == (ids[0], "pending")
    settle_inbox()
    assert_applied_once(2)


def test_beat_sends_the_task_that_workers_know(worker: CeleryProcess) -> None:
    sent = {str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert "replay_batches" in sent
    worker.wait_succeeded([app.send_task("replay_batches").id])


def test_a_worker_replays_a_batch_by_itself(worker: CeleryProcess, admin: User) -> None:
    add_many_failed(2 * CHUNK)
    add_template("dragon_scale")
    batch = make_batch(admin)
    for _ in range(10):  # each is what a beat would send
        wait_idle()
        batch.refresh_from_db()
        if batch.is_over:
            break
        rings.ring_for_batches()
    assert numbers(batch) == {"replayed": 2 * CHUNK}
    assert_applied_once(2 * CHUNK)
