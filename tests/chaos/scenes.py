"""The pieces of work that are crashed at every operation, and their recovery.

A scene is a small world made anew for every case, so cases never meet. Its work and
its recovery run in forked children; the parent keeps the journal and plays time.
"""

from __future__ import annotations

import itertools
import json
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from threading import Event, Thread
from typing import Any
from uuid import UUID

import redis
from django.conf import settings
from django.db import connections

from persistence import tasks
from persistence.contract import redis_keys
from persistence.contract.errors import PayloadConflict
from persistence.dispatcher import SyncDispatcher
from persistence.engine import scripts
from persistence.engine.handoff import checked
from persistence.worker import inbox, occupancy
from tests.support import crash
from tests.support.crash import Crash, Run, Tell, Work
from tests.support.fuzz import call, envelope, headers, raw
from tests.support.ids import new_session_id
from tests.support.journal import Fight, Journal, Share
from tests.support.ledger_oracle import Oracle
from tests.support.waiting import POLL_SECONDS

MAX_RECOVERIES = 6
"""A contended row or a document settled alone may need a second sweep, never more."""

# Celery imports these on first use: once here instead of once in every child.
for module in ("celery.app.amqp", "celery.app.events", "kombu.transport.redis"):
    import_module(module)

_ids = itertools.count(1_000_000)


@dataclass(frozen=True)
class Scene:
    journal: Journal
    work: Work
    resend: Work | None = None
    """What the sender does once it is back: it repeats what it got no answer for."""
    beside: Callable[[], AbstractContextManager[None]] = nullcontext
    """What others do while the work is done."""


MakeScene = Callable[[Oracle], Scene]
Mutate = Callable[[], None]


def play(
    oracle: Oracle,
    make: MakeScene,
    crashes: tuple[Crash | None, Crash | None] = (None, None),
    mutate: Mutate = lambda: None,
) -> tuple[Run, Run, list[str]]:
    """One case: the work, recovery after it, and what is wrong in the end.

    `crashes`: of the work and of the first recovery. `mutate` breaks the code under
    test, in the children alone.
    """
    scene = make(oracle)
    with scene.beside():
        first = _run(scene.work, scene.journal, crashes[0], mutate)
    oracle.let_time_pass()
    recovery = _run(_recover(scene), scene.journal, crashes[1], mutate)
    for _ in range(MAX_RECOVERIES):
        if not recovery.is_killed and oracle.is_quiet():
            break
        oracle.let_time_pass()
        last = _run(_recover(scene), scene.journal, None, mutate)
        recovery = replace(recovery, is_killed=last.is_killed)
    return first, recovery, oracle.violations(scene.journal)


def _run(work: Work, journal: Journal, at: Crash | None, mutate: Mutate) -> Run:
    def begin(tell: Tell) -> None:
        # A test before this one may have left clients that know the parent's scripts.
        inbox.client.cache_clear()
        inbox.script.cache_clear()
        mutate()
        work(tell)

    connections.close_all()
    outcome = crash.run(begin, at)
    for line in outcome.told:
        word, session_id = line.split()
        if word == "accepted":
            journal.accepted.add(UUID(session_id))
        else:
            journal.conflicts[UUID(session_id)] = 1
    return outcome


def _recover(scene: Scene) -> Work:
    def recover(tell: Tell) -> None:
        if scene.resend is not None:
            scene.resend(tell)
        tasks.sweep()
        tasks.settle_inbox()

    return recover


def hand_off(oracle: Oracle) -> Scene:
    """An engine submits: new before old, twice, another document, a busy player."""
    a, b, busy = _characters(3)
    journal = Journal(potions=dict.fromkeys((a, b, busy), 10))
    newer = _fight(200, {a: Share(xp=5, gold=7, hp=61), b: Share(xp=1, loot=2)})
    older = _fight(100, {a: Share(xp=3, hp=99, drunk=1), busy: Share(gold=4, hp=98)})
    fights = [journal.offer(fight) for fight in (newer, older)]
    journal.accounts[busy] = {"combat_session_id": "another", "hp": "7"}
    _prepare(oracle, journal)

    def submit(tell: Tell) -> None:
        dispatcher = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
        for fight in fights:
            if fight.session_id not in journal.accepted:
                dispatcher.submit_combat_sync(fight.document)
                tell(f"accepted {fight.session_id}")
        dispatcher.submit_combat_sync(newer.document)
        if newer.session_id not in journal.conflicts:
            try:
                dispatcher.submit_combat_sync(_other_document(newer))
            except PayloadConflict:
                tell(f"conflict {newer.session_id}")
        dispatcher.close()

    return Scene(journal, submit, submit)


def message(oracle: Oracle) -> Scene:
    """A worker runs a `settle_combat` message, which comes again in any case."""
    a, b = _characters(2)
    journal = Journal(potions={a: 10, b: 10})
    fight = journal.offer(
        _fight(100, {a: Share(xp=5, drunk=2), b: Share(gold=3, loot=1)})
    )
    _prepare(oracle, journal)

    def deliver(tell: Tell) -> None:
        tasks.settle_combat(json.dumps(fight.document))
        tell(f"accepted {fight.session_id}")

    return Scene(journal, deliver, deliver)


def waiting(oracle: Oracle) -> Scene:
    """A worker runs a message, and takes along what waits behind it in the queue."""
    journal, messages = sent_messages(oracle)
    queue = f"queue-{next(_ids)}"
    foreign = raw(messages[1])
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.lpush(queue, *map(raw, messages))
    held = f"held-{queue}"

    def deliver(_: Tell) -> None:
        """As Celery does it: what is not acknowledged comes again."""
        broker = redis.Redis.from_url(settings.BROKER_URL)
        broker.lmove(held, queue, "RIGHT", "RIGHT")
        while message := broker.lmove(queue, held, "RIGHT", "LEFT"):
            if message != foreign:
                body = json.loads(b64decode(json.loads(message)["body"]))
                tasks.settle_combat.apply(body[0], routing_key=queue, throw=True)
            broker.delete(held)

    return Scene(journal, deliver, deliver)


def batch(oracle: Oracle) -> Scene:
    """A worker drains a batch: success, failure, shortage, conflict, last potion."""
    journal = _accepted_batch(oracle)
    return Scene(journal, lambda _: tasks.settle_inbox())


def lingering(oracle: Oracle) -> Scene:
    """A drain waits, two hand-offs wake it, one by one, and its worker is stopped."""
    a, b = _characters(2)
    journal = Journal(potions={a: 10, b: 10})
    first = journal.offer(_fight(100, {a: Share(xp=5, drunk=2), b: Share(loot=1)}))
    second = journal.offer(_fight(200, {a: Share(gold=3)}, failure="unknown_item"))
    _prepare(oracle, journal)
    journal.accepted |= journal.offered.keys()

    def drain(_: Tell) -> None:
        settings.SETTLEMENT_LINGER = True
        tasks.settle_inbox()

    def play_others(killed: Event) -> None:
        """The engine, which goes on where the worker does not, and a main process."""
        _wait_unless(killed, lambda: oracle.redis.exists(redis_keys.LINGERER))
        for fight in (first, second):
            _hand_off_here(oracle, fight.document)
            _wait_unless(killed, lambda: not oracle.redis.exists(redis_keys.INBOX))
        occupancy.close_pool()

    @contextmanager
    def beside() -> Iterator[None]:
        # Seen by the child, too, as the pool's children see it of theirs.
        occupancy.open_pool()
        occupancy.tell(1, 2)
        killed = Event()
        others = Thread(target=play_others, args=[killed])
        others.start()
        try:
            yield
        finally:
            killed.set()
            others.join()
            occupancy.open_pool()
            occupancy.tell(0, 0)

    return Scene(journal, drain, beside=beside)


def sent_messages(oracle: Oracle) -> tuple[Journal, list[Any]]:
    """Results that somebody has sent, each with a foreign message behind it."""
    a, b = _characters(2)
    journal = Journal(potions={a: 10, b: 10})
    journal.offer(_fight(100, {a: Share(xp=5, drunk=2)}))
    journal.offer(_fight(200, {a: Share(gold=3), b: Share(xp=1, loot=1)}))
    journal.offer(_fight(300, {b: Share(xp=9)}, failure="unknown_item"))
    _prepare(oracle, journal)
    journal.accepted |= journal.offered.keys()
    foreign = envelope(call("vitals", a), headers=headers(task="task_sync_state"))
    sent = [envelope(call(fight.document)) for fight in journal.offered.values()]
    return journal, [each for result in sent for each in (result, foreign)]


def alone(oracle: Oracle) -> Scene:
    """A worker takes up what another one died with: each combat by itself."""
    a, b = _characters(2)
    journal = Journal(potions={a: 3, b: 10})
    journal.offer(_fight(200, {a: Share(xp=5, drunk=5, missing=2), b: Share(loot=1)}))
    journal.offer(_fight(100, {b: Share(xp=9)}, failure="unknown_item"))
    _prepare(oracle, journal)
    _accept(oracle, journal)
    for session_id in journal.offered:
        oracle.redis.hset(f"combat:result:{session_id}", "claims", 1)
    return Scene(journal, lambda _: tasks.settle_inbox())


def late(oracle: Oracle) -> Scene:
    """A fight that is settled comes again, and so does another document for it."""
    (a,) = _characters(1)
    journal = Journal(potions={a: 10})
    fight = journal.offer(_fight(100, {a: Share(xp=5, drunk=2, loot=1)}))
    _prepare(oracle, journal)
    _accept(oracle, journal)
    _run(lambda _: tasks.settle_inbox(), journal, None, lambda: None)
    _hand_off_here(oracle, fight.document)
    _hand_off_here(oracle, _other_document(fight))
    journal.conflicts[fight.session_id] = 1
    return Scene(journal, lambda _: tasks.settle_inbox())


def swept(oracle: Oracle) -> Scene:
    """Only the sweep can know: a row Redis forgot, a session never handed off."""
    a, b = _characters(2)
    journal = Journal(potions={a: 10, b: 10})
    forgotten = journal.offer(_fight(100, {a: Share(xp=5, drunk=1)}))
    unsent = journal.offer(_fight(200, {a: Share(gold=2), b: Share(xp=4, loot=3)}))
    _prepare(oracle, journal)
    journal.accepted |= {forgotten.session_id, unsent.session_id}
    document = {k: v for k, v in forgotten.document.items() if k != "replay_log"}
    oracle.database.execute(
        "INSERT INTO combat_history (session_id, participant_ids, finished_at, "
        "result_payload, due_at) VALUES (%s, %s, to_timestamp(%s), %s, 'epoch')",
        [
            forgotten.session_id,
            [a],
            forgotten.finished_at,
            json.dumps(document),
        ],
    )
    oracle.redis.hset(
        f"cs:{unsent.session_id}",
        mapping={"status": "finished", "result": json.dumps(unsent.document)},
    )

    def sweep(_: Tell) -> None:
        tasks.sweep()
        tasks.settle_inbox()

    return Scene(journal, sweep)


def _accepted_batch(oracle: Oracle) -> Journal:
    a, b, c, d = _characters(4)
    journal = Journal(potions={a: 3, b: 10, c: 10, d: 2})
    first = _fight(100, {a: Share(xp=5, gold=7, drunk=1, hp=40), b: Share(loot=2)})
    journal.offer(first)
    journal.offer(_fight(300, {a: Share(xp=2, drunk=2, hp=30), c: Share(gold=-50)}))
    journal.offer(_fight(200, {c: Share(xp=9)}, failure="unknown_item"))
    journal.offer(_fight(150, {d: Share(xp=1, drunk=5, missing=3)}))
    _prepare(oracle, journal)
    _accept(oracle, journal)
    _hand_off_here(oracle, _other_document(first))
    journal.conflicts[first.session_id] = 1
    return journal


def _wait_unless(killed: Event, condition: Callable[[], object]) -> None:
    while not condition() and not killed.wait(POLL_SECONDS):
        pass


def _characters(count: int) -> list[int]:
    return list(itertools.islice(_ids, count))


def _fight(second: int, shares: dict[int, Share], failure: str | None = None) -> Fight:
    """`second`: of the story's own clock, which began an hour ago."""
    began = int(time.time()) - 3600
    return Fight(new_session_id(), began + second, shares, failure)


def _other_document(fight: Fight) -> dict[str, Any]:
    document = json.loads(json.dumps(fight.document))
    document["participants"] = {
        key: part | ({"changes": {"xp_gained": 1_000_000}} if key.isdigit() else {})
        for key, part in document["participants"].items()
    }
    return dict(document)


def _prepare(oracle: Oracle, journal: Journal) -> None:
    """The world, and every fight as a live session that its players are in."""
    oracle.add_world(journal)
    for fight in journal.offered.values():
        session = str(fight.session_id)
        oracle.redis.hset(f"cs:{session}", mapping={"status": "active"})
        oracle.redis.zadd("combat:active", {session: time.time() * 1000})
    for character_id, account in journal.accounts.items():
        for name, value in account.items():
            oracle.redis.hset(f"ac:{character_id}", name, value)


def _accept(oracle: Oracle, journal: Journal) -> None:
    for fight in journal.offered.values():
        _hand_off_here(oracle, fight.document)
    journal.accepted |= journal.offered.keys()


def _hand_off_here(oracle: Oracle, document: dict[str, Any]) -> None:
    """The parent as the engine, without a ring."""
    handoff = checked(document)
    script = oracle.redis.register_script(scripts.source("handoff"))
    script(keys=handoff.keys, args=handoff.args)
