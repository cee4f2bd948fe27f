"""Servers that hang, are full or are held by somebody: bounded, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from celery import Celery

from persistence.contract.errors import HandoffFailed
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt
from tests.chaos.load import tell_story, wait_settled
from tests.chaos.rig import HOST, ServerPair, Staff
from tests.support.journal import Fight, Journal
from tests.support.ledger_oracle import Oracle
from tests.support.proxy import Proxy, proxy_to
from tests.support.waiting import wait_until
from tests.support.worker import CeleryProcess, running_worker

DELIVERIES = 4
"""Of a message whose worker dies: once, and Celery's three retries."""


SHORT = {"SETTLEMENT_HARD_LIMIT_SECONDS": "3", "SETTLEMENT_DRAIN_SECONDS": "1"}


@pytest.fixture
def alone(pair: ServerPair, watch: Oracle, wired: Staff) -> ServerPair:
    """The servers without the wired staff, for a worker with limits of its own.

    Messages carry their sender's limits: none of that staff's may be left.
    """
    wired.dismiss()
    watch.redis.delete("celery", "sweep", "saves", "unacked", "unacked_index")
    return pair


@pytest.fixture
def hole(pair: ServerPair) -> Iterator[Proxy]:
    """A way to Redis that can become a black hole."""
    with proxy_to(HOST, pair.redis.port) as proxy:
        yield proxy


@pytest.fixture
def frozen_engine(pair: ServerPair, hole: Proxy) -> Iterator[SyncDispatcher]:
    dispatcher = SyncDispatcher(pair.redis_url(hole.port), timeout=1)
    yield dispatcher
    hole.resume()
    dispatcher.close()


@pytest.mark.parametrize("connected", [False, True])
def test_a_frozen_redis_is_refused_and_the_fight_is_submitted_again(
    watch: Oracle, hole: Proxy, frozen_engine: SyncDispatcher, connected: bool
) -> None:
    journal, (first, second) = tell_story(watch, 2)
    if connected:
        frozen_engine.submit_combat_sync(first.document)
    hole.pause()
    with pytest.raises(HandoffFailed):
        frozen_engine.submit_combat_sync(second.document)
    hole.resume()
    hole.cut()
    for fight in (first, second):
        assert frozen_engine.submit_combat_sync(fight.document) in Receipt
        journal.accepted.add(fight.session_id)
    wait_settled(watch, journal)


def test_a_full_redis_refuses_and_what_it_accepted_is_settled_after_relief(
    watch: Oracle, engine: SyncDispatcher, wired: Staff
) -> None:
    journal, fights = tell_story(watch, 6)
    wired.freeze()
    try:
        _submit(engine, journal, fights[:5])
        watch.redis.config_set("maxmemory", 1)
        with pytest.raises(HandoffFailed, match=r"OOM|OutOfMemory"):
            engine.submit_combat_sync(fights[5].document)
        wired.thaw()
        time.sleep(1.5)  # beats and sweeps that fail
    finally:
        wired.thaw()
        watch.redis.config_set("maxmemory", 0)
    _submit(engine, journal, fights[5:])
    wait_settled(watch, journal)
    assert wired.worker.is_alive
    assert wired.beat.is_alive


def test_a_half_open_client_holds_up_its_own_character_and_nobody_else(
    watch: Oracle, pair: ServerPair, engine: SyncDispatcher
) -> None:
    journal, fights = tell_story(watch, 8)
    held = next(iter(fights[0].shares))
    others = [fight for fight in fights if held not in fight.shares]
    with (
        proxy_to(pair.socket_dir, pair.postgres.port) as cable,
        closing(
            psycopg.connect(
                pair.database_url(cable.port),
                # Longer than ours may idle: on a busy machine the others take a while.
                options="-c idle_in_transaction_session_timeout=20s",
            )
        ) as holder,
    ):
        holder.execute("SELECT FROM characters WHERE id = %s FOR UPDATE", [held])
        # Nobody hears of it any more: it cannot even roll back.
        cable.pause()
        _submit(engine, journal, fights)
        wait_until(lambda: _settled(watch, others), "others are settled")
        assert not _settled(watch, fights[:1])
        wait_settled(watch, journal)
    wait_until(lambda: not watch.tries_left(journal), "all tries are taken back")


def test_a_time_limit_that_strikes_in_a_commit_leaves_a_worker_that_works(
    alone: ServerPair, watch: Oracle, engine: SyncDispatcher, tmp_path: Path
) -> None:
    journal, fights = tell_story(watch, 3)
    with proxy_to(alone.socket_dir, alone.postgres.port) as cable:
        env = alone.environment(DATABASE_URL=alone.database_url(cable.port), **SHORT)
        with running_worker(tmp_path, concurrency=1, beat=True, **env) as worker:
            pool = worker.children()
            fault = cable.hold_reply_to(b"COMMIT")
            _submit(engine, journal, fights[:1])
            assert fault.struck.wait(10)
            wait_until(lambda: "SoftTimeLimit" in worker.output(), "the limit")
            cable.resume()
            _submit(engine, journal, fights[1:])
            wait_settled(watch, journal)
            assert worker.children() == pool
            assert "in an atomic block" not in worker.output()


@contextmanager
def cut_off(
    alone: ServerPair, folder: Path, **limits: str
) -> Iterator[tuple[Proxy, CeleryProcess]]:
    """A worker whose way to the Redis of combats, not to the broker, has frozen."""
    with proxy_to(HOST, alone.redis.port) as cable:
        env = alone.environment(REDIS_URL=alone.redis_url(cable.port), **limits)
        with running_worker(folder, concurrency=1, beat=False, **env) as worker:
            wait_until(lambda: "sweep[" in worker.output(), "it has begun")
            cable.pause()
            yield cable, worker


def _received(worker: CeleryProcess, times: int) -> None:
    """Returns while the task waits for an answer of Redis, as it does for seconds."""
    line = re.compile(r"Task settle_combat\[\S+\] received")
    wait_until(lambda: len(line.findall(worker.output())) >= times, f"delivery {times}")
    time.sleep(1)


def test_a_soft_limit_before_a_result_is_recorded_loses_nothing(
    alone: ServerPair, watch: Oracle, producer: Celery, tmp_path: Path
) -> None:
    journal, (fight,) = tell_story(watch, 1)
    with cut_off(alone, tmp_path, **SHORT) as (cable, worker):
        producer.send_task("settle_combat", args=[fight.document])
        wait_until(lambda: "Retry in" in worker.output(), "the limit strikes")
        cable.resume()
        journal.accepted.add(fight.session_id)
        wait_settled(watch, journal)


def test_a_hard_limit_before_a_result_is_recorded_loses_nothing(
    alone: ServerPair, watch: Oracle, producer: Celery, tmp_path: Path
) -> None:
    """A process that hears of no limit is killed, and its message delivered again."""
    journal, (fight,) = tell_story(watch, 1)
    with cut_off(alone, tmp_path, **SHORT) as (cable, worker):
        producer.send_task("settle_combat", args=[fight.document])
        _received(worker, 1)
        os.kill(worker.children()[0], signal.SIGSTOP)
        wait_until(lambda: "Hard time limit" in worker.output(), "the limit strikes")
        cable.resume()
        journal.accepted.add(fight.session_id)
        wait_settled(watch, journal)


def test_a_result_whose_worker_dies_each_time_is_kept(
    alone: ServerPair, watch: Oracle, producer: Celery, tmp_path: Path
) -> None:
    """Before it is recorded nothing but the message knows of it."""
    _, (fight,) = tell_story(watch, 1)
    with cut_off(alone, tmp_path) as (cable, worker):
        producer.send_task("settle_combat", args=[fight.document])
        for times in range(1, DELIVERIES + 1):
            _received(worker, times)
            os.kill(worker.children()[0], signal.SIGKILL)
        cable.resume()
        wait_until(lambda: _is_kept(watch, fight), "the message is kept")


def _is_kept(watch: Oracle, fight: Fight) -> bool:
    rows = watch.read(
        "SELECT raw FROM rejected_payloads WHERE code = 'unreadable_message'"
    )
    named = str(fight.session_id).encode()
    return any(named in bytes(row["raw"]) for row in rows)


def test_messages_that_no_worker_can_read_harm_nobody_else(
    watch: Oracle, engine: SyncDispatcher, producer: Celery, wired: Staff
) -> None:
    journal, fights = tell_story(watch, 4)
    hooked = fights[3].document
    # kombu makes an object of this, or fails to: the whole message is undecodable.
    hooked["participants"]["goblin_1"]["loot"] = {"__type__": "uuid", "__value__": 1}
    producer.send_task("no_such_task", args=[1])
    producer.send_task("settle_combat", args=[hooked])
    # The worker's main process ends of this one, and its supervisor starts it again.
    watch.redis.lpush("celery", b"no envelope")
    _submit(engine, journal, fights[:3])
    # The documented form: text is nobody's object.
    producer.send_task("settle_combat", args=[json.dumps(hooked)])
    journal.accepted.add(fights[3].session_id)

    def is_settled() -> bool:
        wired.supervise()
        return watch.is_quiet() and not watch.violations(journal)

    wait_until(is_settled, "all fights are settled")


def _submit(engine: SyncDispatcher, journal: Journal, fights: list[Fight]) -> None:
    for fight in fights:
        engine.submit_combat_sync(fight.document)
        journal.accepted.add(fight.session_id)


def _settled(watch: Oracle, fights: list[Fight]) -> bool:
    (row,) = watch.database.execute(
        "SELECT count(*) AS n FROM combat_history "
        "WHERE session_id = ANY (%s) AND settlement_status = 'processed'",
        [[fight.session_id for fight in fights]],
    )
    return bool(row["n"] == len(fights))
