"""One reply lost at the worst moment: deterministic forms of what crashes do rarely."""

from __future__ import annotations

import os

from celery import Celery

from persistence.dispatcher import SyncDispatcher
from tests.chaos.load import bare_producer, tell_story, wait_settled
from tests.chaos.rig import Cables, ServerPair, Staff, wait_for_sweep
from tests.support.ledger_oracle import Oracle
from tests.support.waiting import wait_until


def test_a_ring_lost_between_broker_and_worker_costs_a_beat(
    watch: Oracle, cables: Cables, engine: SyncDispatcher
) -> None:
    journal, (fight,) = tell_story(watch)
    # Of this process alone: beat's own messages name another origin.
    fault = cables.broker.lose_reply(f"gen{os.getpid()}@".encode())
    engine.submit_combat_sync(fight.document)
    journal.accepted.add(fight.session_id)
    wait_settled(watch, journal)
    assert fault.struck.wait(10)


def test_a_message_lost_on_its_way_is_seen_as_lost_and_repeating_it_settles_once(
    watch: Oracle, cables: Cables, producer: Celery, wired: Staff
) -> None:
    journal, (fight,) = tell_story(watch)
    fault = cables.broker.lose_reply(str(fight.session_id).encode())
    lost = producer.send_task("settle_combat", args=[fight.document])
    # What a sender believes that keeps no record of its own.
    journal.accepted.add(fight.session_id)
    assert fault.struck.wait(10)
    wait_for_sweep(wired)
    assert any("LOST" in violation for violation in watch.violations(journal))
    again = producer.send_task("settle_combat", args=[fight.document])
    wait_settled(watch, journal)
    assert lost.id not in wired.worker.output()
    assert again.id in wired.worker.output()


def test_a_commit_whose_reply_is_lost_is_one_row_with_its_effects(
    watch: Oracle, cables: Cables, engine: SyncDispatcher
) -> None:
    journal, (fight,) = tell_story(watch)
    fault = cables.postgres.lose_reply_to(b"COMMIT")
    engine.submit_combat_sync(fight.document)
    journal.accepted.add(fight.session_id)
    wait_settled(watch, journal)
    assert fault.struck.wait(10)


def test_a_publish_whose_reply_is_lost_is_two_messages_and_one_application(
    watch: Oracle, pair: ServerPair, cables: Cables, wired: Staff
) -> None:
    journal, (fight,) = tell_story(watch)
    fault = cables.redis.lose_reply_to(b"LPUSH")
    with bare_producer(pair.redis_url(cables.redis.port)) as producer:
        message = producer.send_task("settle_combat", args=[fight.document])
    assert fault.struck.wait(10)
    journal.accepted.add(fight.session_id)
    wait_settled(watch, journal)
    received = f"Task settle_combat[{message.id}] received"

    def heard() -> int:
        """Where both waited, the second was recorded along with the first."""
        along = message.id in wired.worker.taken_along()
        return wired.worker.output().count(received) + along

    wait_until(lambda: heard() == 2, "both came")
    wait_settled(watch, journal)
