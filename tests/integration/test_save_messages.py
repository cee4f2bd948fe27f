"""Messages that ask for saves: never more than intents, and no ring waits for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import redis
from django.conf import settings

from combat_history.models import Character, CombatHistory
from persistence.contract import redis_keys
from persistence.dispatcher import SyncDispatcher
from persistence.protocols import SyncScope
from persistence.sweeping.intents import LIMIT
from persistence.tasks import sweep, task_sync_state
from settlement_project.celery import app
from tests.support.documents import HERO, make_document, make_participant, op
from tests.support.engine import let_time_pass, messages
from tests.support.ids import new_session_id
from tests.support.parallel import character_locked, in_threads, wait_until_blocked
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess

pytestmark = pytest.mark.usefixtures("world")

RIVAL = 102
PLAYERS = 5000


def note(client: redis.Redis, *members: str, seconds_ago: int = 60) -> None:
    """As an engine of an older version does, which says nothing of its message."""
    seconds, _ = client.time()
    noted = dict.fromkeys(members, (seconds - seconds_ago) * 1_000_000)
    client.zadd(redis_keys.INTENTS, noted)


def waiting(queue: str = "saves") -> int:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        return int(broker.llen(queue))


def serve(number: int) -> None:
    """A worker takes so many messages of the queue of saves, oldest first."""
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("saves")
        for _ in range(number):
            message = queue.get(timeout=60)
            task_sync_state(*message.payload[0])
            message.ack()
        queue.close()


def test_sweeps_send_no_more_messages_than_there_are_intents(
    redis_client: redis.Redis,
) -> None:
    players = range(1000, 1000 + PLAYERS)
    note(redis_client, *(f"vitals:{player}" for player in players))
    for player in players:
        app.send_task("task_sync_state", args=["vitals", player])
    for _ in range(7):
        sweep()
        let_time_pass(redis_client)
    assert PLAYERS <= waiting() <= PLAYERS + 7

    # A queue that is slower than the sweeps, and still gets shorter.
    lengths = []
    for _ in range(4):
        serve(25)
        let_time_pass(redis_client)
        sweep()
        lengths.append(waiting())

    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] <= PLAYERS + 7 - 100 + 4


def test_sweeps_bring_back_lost_messages_without_filling_the_queue(
    redis_client: redis.Redis,
) -> None:
    note(redis_client, *(f"vitals:{1000 + i}" for i in range(3 * LIMIT)))
    for _ in range(4):
        sweep()
        let_time_pass(redis_client)
    assert LIMIT <= waiting() <= LIMIT + 3

    serve(200)
    let_time_pass(redis_client)
    sweep()
    assert LIMIT <= waiting() <= LIMIT + 4


def test_a_message_that_was_sent_is_given_longer_and_longer(
    redis_client: redis.Redis,
) -> None:
    note(redis_client, "vitals:101", seconds_ago=20)
    sweep()
    assert waiting() == 1

    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.delete("saves")
    sweep()
    assert waiting() == 0, "it may be under way still"

    let_time_pass(redis_client)
    sweep()
    assert waiting() == 1


def test_a_dispatch_is_not_sent_again_while_its_message_waits(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    add = op("a", "add", item_template_id="wolf_pelt", qty=2)
    for at in range(20):
        engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)
        engine.change_inventory_sync(HERO, [{**add, "op_id": str(at)}])
        let_time_pass(redis_client)
    engine.close()

    assert sorted(messages(redis_client)) == [
        ("task_sync_state", ["inventory", HERO]),
        ("task_sync_state", ["vitals", HERO]),
    ]


def test_starting_a_combat_again_asks_for_its_belts_no_more_than_is_of_use(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    fight = new_session_id()
    for _ in range(5):
        engine.start_combat_sync(fight, [HERO])
    engine.close()

    assert messages(redis_client) == [("assemble_belts", [str(fight)])]


def test_a_save_that_was_asked_for_during_it_sends_the_next_itself(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    redis_client.hset("ac:101", mapping={"hp": 42, "vitals_at": 1_763_700_000_000})
    engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)
    wait_until(lambda: waiting() == 1, "the ring is sent")
    with ThreadPoolExecutor() as pool:
        with character_locked(HERO):
            saving = pool.submit(in_threads, partial(serve, 1))
            wait_until_blocked(1)
            redis_client.hset(
                "ac:101", mapping={"hp": 41, "vitals_at": 1_763_700_000_001}
            )
            engine.dispatch_sync(SyncScope.VITALS, char_id=HERO)
        saving.result()
    engine.close()

    assert messages(redis_client) == [("task_sync_state", ["vitals", HERO])]
    serve(1)
    assert Character.objects.get(pk=HERO).hp == 41
    assert not redis_client.exists(redis_keys.INTENTS, redis_keys.INTENTS_SENT)


def test_players_who_ask_for_a_sweep_share_one(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    for char_id in (HERO, RIVAL):
        engine.dispatch_sync(SyncScope.CLEANUP, char_id=char_id)
    task_sync_state("cleanup", HERO)
    fight = new_session_id()
    redis_client.hset(redis_keys.session(fight), "status", "finished")

    task_sync_state("cleanup", RIVAL)

    assert not redis_client.exists(redis_keys.INTENTS)
    assert not redis_client.hexists(redis_keys.session(fight), "reported")
    task_sync_state("cleanup", RIVAL)
    assert redis_client.hexists(redis_keys.session(fight), "reported"), "asked anew"


def test_what_an_older_worker_left_of_a_message_is_forgotten(
    redis_client: redis.Redis,
) -> None:
    redis_client.zadd(redis_keys.INTENTS_SENT, {"vitals:101": 1})

    sweep()

    assert not redis_client.exists(redis_keys.INTENTS_SENT)


def test_fights_are_settled_while_saves_wait_in_hundreds(
    engine: SyncDispatcher, redis_client: redis.Redis, worker: CeleryProcess
) -> None:
    redis_client.hset("ac:101", mapping={"hp": 42, "vitals_at": 1_763_700_000_000})
    Character.objects.create(pk=RIVAL, name="Rival")
    fights = [make_document(participants={"102": make_participant()}) for _ in range(3)]
    with character_locked(HERO):
        for _ in range(200):
            app.send_task("task_sync_state", args=["vitals", HERO])
        wait_until(lambda: waiting() < 200, "the worker is at the saves")
        for fight in fights:
            engine.submit_combat_sync(fight)
        wait_until(
            lambda: (
                CombatHistory.objects.filter(settlement_status="processed").count()
                == len(fights)
            ),
            "the fights are settled",
        )
        assert waiting() > 100
        with redis.Redis.from_url(settings.BROKER_URL) as broker:
            broker.delete("saves")


def test_messages_of_an_older_engine_are_served(
    redis_client: redis.Redis, worker: CeleryProcess
) -> None:
    redis_client.hset("ac:101", mapping={"hp": 42, "vitals_at": 1_763_700_000_000})
    note(redis_client, "vitals:101")

    app.send_task("task_sync_state", args=["vitals", HERO], queue="celery")

    wait_until(lambda: not redis_client.exists(redis_keys.INTENTS), "it is saved")
    assert Character.objects.get(pk=HERO).hp == 42
