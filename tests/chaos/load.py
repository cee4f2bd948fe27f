"""Senders under fire: both doors, ten percent twice, and a journal of the answers."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import psycopg
import redis
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError

from persistence.contract.errors import HandoffFailed
from persistence.dispatcher import SyncDispatcher
from tests.support.ids import new_session_id
from tests.support.journal import Fight, Journal, Share
from tests.support.ledger_oracle import Oracle
from tests.support.waiting import TIMEOUT_SECONDS

RESEND_SECONDS = 1.5
PACE_SECONDS = 0.02
DUPLICATES = 0.1
POTIONS = 100_000

_ids = itertools.count(50_000_000)


def make_journal(players: int) -> Journal:
    """A story of so many characters, with no fight yet."""
    return Journal(potions=dict.fromkeys(itertools.islice(_ids, players), POTIONS))


def make_fights(journal: Journal, count: int, chance: random.Random) -> list[Fight]:
    """Fights of one to three players each, handed over in no order of their ends."""
    began = int(time.time()) - 100_000
    fights = []
    for _ in range(count):
        players = chance.sample(list(journal.potions), chance.randint(1, 3))
        shares = {
            player: Share(
                xp=chance.randint(0, 50),
                gold=chance.randint(0, 20),
                hp=chance.randint(1, 500),
                energy=chance.randint(0, 100),
                drunk=chance.randint(0, 2),
                loot=chance.randint(0, 2),
            )
            for player in players
        }
        finished_at = began + chance.randint(0, 90_000)
        fights.append(journal.offer(Fight(new_session_id(), finished_at, shares)))
    return fights


class Senders:
    """Two threads: one submits until it is told "accepted", one publishes messages.

    A bare message is accepted when its row is there, and repeated until then.
    """

    def __init__(
        self,
        journal: Journal,
        seed: int,
        *,
        database_url: str,
        redis_url: str,
        broker_url: str,
    ) -> None:
        self._journal = journal
        self._chance = random.Random(seed)
        self._database_url = database_url
        self._redis_url = redis_url
        self._broker_url = broker_url
        self._let_go = 0.0
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self.refused = 0
        self.repeated = 0

    def start(self, fights: list[Fight]) -> None:
        half = len(fights) // 2
        doors = ((self._submit, fights[:half]), (self._publish, fights[half:]))
        for door, share in doors:
            thread = threading.Thread(target=door, args=(share,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def let_go(self, share: float) -> None:
        """Let the senders go on until this share of their fights is sent."""
        self._let_go = share

    @property
    def is_done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _submit(self, fights: list[Fight]) -> None:
        dispatcher = SyncDispatcher(self._redis_url, self._broker_url, timeout=1.0)
        with closing(dispatcher):
            for number, fight in enumerate(self._paced(fights), 1):
                self._submit_until_accepted(dispatcher, fight)
                if self._chance.random() < DUPLICATES:
                    again = self._chance.choice(fights[:number])
                    self._submit_until_accepted(dispatcher, again)

    def _submit_until_accepted(self, dispatcher: SyncDispatcher, fight: Fight) -> None:
        while not self._stopped.is_set():
            try:
                dispatcher.submit_combat_sync(fight.document)
            except HandoffFailed:
                self.refused += 1
                time.sleep(0.05)
            else:
                self._journal.accepted.add(fight.session_id)
                return

    def _publish(self, fights: list[Fight]) -> None:
        with bare_producer(self._broker_url) as producer:
            for fight in self._paced(fights):
                copies = 2 if self._chance.random() < DUPLICATES else 1
                for _ in range(copies):
                    self._send(producer, fight)
            waiting = fights
            while waiting and not self._stopped.wait(RESEND_SECONDS):
                waiting = self._without_row(waiting)
                for fight in waiting:
                    self.repeated += 1
                    self._send(producer, fight)

    def _paced(self, fights: list[Fight]) -> Iterator[Fight]:
        for position, fight in enumerate(fights):
            while position >= self._let_go * len(fights):
                if self._stopped.wait(PACE_SECONDS):
                    return
            yield fight
            time.sleep(PACE_SECONDS)

    def _send(self, producer: Celery, fight: Fight) -> None:
        # Not sent, or not known to be sent: it is repeated as long as it has no row.
        with suppress(BrokerError, redis.RedisError, OSError):
            producer.send_task("settle_combat", args=[fight.document])

    def _without_row(self, fights: list[Fight]) -> list[Fight]:
        ids = [fight.session_id for fight in fights]
        try:
            with psycopg.connect(self._database_url, connect_timeout=2) as database:
                rows = database.execute(
                    "SELECT session_id FROM combat_history WHERE session_id = ANY (%s)",
                    [ids],
                ).fetchall()
        except psycopg.OperationalError:
            return fights
        known = {row[0] for row in rows}
        self._journal.accepted |= known
        return [fight for fight in fights if fight.session_id not in known]


@contextmanager
def bare_producer(broker_url: str) -> Iterator[Celery]:
    """What a script with nothing but Celery has; bounded, as every sender should be."""
    app = Celery(set_as_current=False)
    app.conf.update(
        # Not `broker`: CELERY_BROKER_URL of the tests would stand above it.
        broker_write_url=broker_url,
        broker_transport_options={"socket_timeout": 2, "socket_connect_timeout": 1},
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0},
    )
    try:
        yield app
    finally:
        app.close()


def tell_story(oracle: Oracle, fights: int = 1) -> tuple[Journal, list[Fight]]:
    """A world of its own for a test, and fights to send."""
    journal = make_journal(players=3 * fights)
    made = make_fights(journal, fights, random.Random(7))
    oracle.add_world(journal)
    return journal, made


def wait_settled(
    oracle: Oracle,
    journal: Journal,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Until nothing waits and nothing is wrong; fails with what is wrong."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not oracle.is_quiet() or oracle.violations(journal):
        wrong = "\n".join(oracle.violations(journal)) or "work is left"
        assert time.monotonic() < deadline, f"not within {TIMEOUT_SECONDS} s:\n{wrong}"
        meanwhile()
        time.sleep(0.05)
