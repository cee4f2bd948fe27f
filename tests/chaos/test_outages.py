"""PostgreSQL and Redis die, restart and stay away while fights come in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from persistence.dispatcher import SyncDispatcher
from tests.chaos.load import Senders, make_fights, make_journal, wait_settled
from tests.chaos.rig import ServerPair, Staff, kill_server
from tests.support.documents import HERO
from tests.support.journal import Journal
from tests.support.ledger_oracle import Oracle
from tests.support.waiting import wait_until
from tests.support.web import Web, running_web

SEED = 20
FIGHTS = 60
WEB, CONNECTIONS = "web-in-an-outage", 6
BELT = f"/api/characters/{HERO}/belt"
Fault = Callable[[ServerPair], None]


@contextmanager
def _under_load(pair: ServerPair, watch: Oracle) -> Iterator[Journal]:
    """Fights come in through both doors for the length of the block and until done."""
    journal = make_journal(players=12)
    watch.add_world(journal)
    fights = make_fights(journal, FIGHTS, random.Random(SEED))
    senders = Senders(
        journal,
        SEED,
        database_url=pair.database_url(),
        redis_url=pair.redis_url(),
        broker_url=pair.redis_url(),
    )
    senders.let_go(1)
    senders.start(fights)
    try:
        time.sleep(0.3)
        yield journal
        wait_until(lambda: senders.is_done, "every sender has its answers")
    finally:
        senders.stop()


def _terminate_backends(pair: ServerPair) -> None:
    """Of everybody, again and again: connections are lost at any point."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        with psycopg.connect(pair.database_url()) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        time.sleep(0.15)


def _kill_postgres(pair: ServerPair) -> None:
    kill_server(pair.postgres)
    pair.postgres.restart()


def _stop_postgres_for_a_while(pair: ServerPair) -> None:
    pair.postgres.stop()
    time.sleep(1.5)
    pair.postgres.restart()


def _kill_redis_twice(pair: ServerPair) -> None:
    for _ in range(2):
        kill_server(pair.redis)
        time.sleep(0.3)
        pair.redis.restart()
        time.sleep(0.3)


@pytest.mark.parametrize(
    "fault", [_terminate_backends, _kill_postgres, _stop_postgres_for_a_while]
)
def test_postgres_may_go_away_at_any_time(
    pair: ServerPair, wired: Staff, watch: Oracle, fault: Fault
) -> None:
    with _under_load(pair, watch) as journal:
        fault(pair)
    with closing(Oracle(pair.database_url(), pair.redis_url())) as oracle:
        wait_settled(oracle, journal)
        # No try is held against a document that only met an outage.
        wait_until(lambda: not oracle.tries_left(journal), "all tries are taken back")
    assert wired.worker.is_alive


def test_redis_may_be_killed_while_fights_come_in(
    pair: ServerPair, wired: Staff, watch: Oracle
) -> None:
    with _under_load(pair, watch) as journal:
        _kill_redis_twice(pair)
        wired.supervise()
    wait_settled(watch, journal)


def test_redis_may_be_down_for_longer_than_a_finished_session_lives(
    pair: ServerPair, wired: Staff, watch: Oracle, engine: SyncDispatcher
) -> None:
    journal = make_journal(players=6)
    watch.add_world(journal)
    fights = make_fights(journal, 3, random.Random(SEED))
    sessions = [f"cs:{fight.session_id}" for fight in fights]
    wired.freeze()
    try:
        for fight, session in zip(fights, sessions, strict=True):
            watch.redis.hset(session, "status", "active")
            engine.submit_combat_sync(fight.document)
            journal.accepted.add(fight.session_id)
            # Instead of its five minutes.
            assert watch.redis.pexpire(session, 300)
        kill_server(pair.redis)
        time.sleep(0.5)
        pair.redis.restart()
        assert not watch.redis.exists(*sessions)
    finally:
        wired.thaw()
    wait_settled(watch, journal)


def _fill_its_pool(pair: ServerPair, web: Web) -> None:
    """As many requests at once as it may hold connections."""
    with (
        closing(psycopg.connect(pair.database_url())) as holder,
        closing(psycopg.connect(pair.database_url(), autocommit=True)) as watch,
        ThreadPoolExecutor(CONNECTIONS) as callers,
    ):
        holder.execute("LOCK TABLE inventory")
        asked = [callers.submit(web.ask, BELT) for _ in range(CONNECTIONS)]
        wait_until(
            lambda: (
                watch.execute(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE application_name = %s AND wait_event_type = 'Lock'",
                    [WEB],
                ).fetchone()
                == (CONNECTIONS,)
            ),
            "every request holds a connection",
        )
        holder.rollback()
        assert {answer.result()[0] for answer in asked} <= {200, 404}


@pytest.mark.parametrize("asked_meanwhile", [False, True])
def test_the_web_answers_as_soon_as_postgres_is_back(
    pair: ServerPair, tmp_path: Path, asked_meanwhile: bool
) -> None:
    env = pair.environment(SETTLEMENT_DATABASE_POOL=str(CONNECTIONS), PGAPPNAME=WEB)
    with running_web(tmp_path / "uvicorn.log", **env) as web:
        _fill_its_pool(pair, web)

        pair.postgres.stop()
        if asked_meanwhile:
            asked_at = time.monotonic()
            assert {web.ask(BELT)[0] for _ in range(3)} == {503}
            assert time.monotonic() - asked_at < 2
        pair.postgres.restart()

        # Nobody waits for what has died with the server.
        asked_at = time.monotonic()
        answers = [web.ask(path)[0] for path in ("/readyz", BELT, BELT)]
        assert time.monotonic() - asked_at < 2
        assert answers == [200, 404, 404]
