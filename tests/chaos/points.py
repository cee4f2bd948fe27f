"""Where a combat can be when something breaks: each point, and how work is held there.

A proxy holds the bytes of the step before, or those of its answer, while the fault
strikes; nothing of the code under test knows. Work is real: an engine, a worker with
beat, a person's replay, each a process of its own.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tests.chaos.engine_process import HEARTBEAT, SEND, SUBMIT, EngineProcess
from tests.chaos.load import make_fights, make_journal
from tests.chaos.rig import HOST, Cables, ServerPair, Staff
from tests.support.journal import Fight, Journal
from tests.support.ledger_oracle import Oracle
from tests.support.mortal import mortal
from tests.support.proxy import Fault, Proxy, proxy_to
from tests.support.waiting import TIMEOUT_SECONDS, wait_until
from tests.support.worker import PROJECT_ROOT, environment

RESEND_SECONDS = 1.5
ABANDONED_MS = 700_000
"""Longer ago than the sweep lets a combat be silent."""

_REPLAY = """
import sys
import django
django.setup()
from django.contrib.auth.models import User
from combat_history.actions.replay import replay
actor, _ = User.objects.get_or_create(username="chaos", defaults={"is_superuser": True})
from uuid import UUID
replay([UUID(sys.argv[1])], actor=actor, reason="the character is there now")
"""


class Stage:
    """One case: the processes, what connects them, and the journal of one fight."""

    def __init__(
        self, pair: ServerPair, cables: Cables, staff: Staff, stack: ExitStack
    ) -> None:
        self.pair = pair
        self.staff = staff
        self.lines: dict[str, Proxy] = {
            "worker-postgres": cables.postgres,
            "worker-redis": cables.redis,
            "worker-broker": cables.broker,
            "engine-redis": stack.enter_context(proxy_to(HOST, pair.redis.port)),
            "engine-broker": stack.enter_context(proxy_to(HOST, pair.redis.port)),
            "admin-postgres": stack.enter_context(
                proxy_to(pair.socket_dir, pair.postgres.port)
            ),
        }
        self.engine = self._hire_engine()
        stack.callback(lambda: self.engine.kill9())
        self.admin: subprocess.Popen[bytes] | None = None
        self.journal = Journal()

    def new_fight(self, failure: str | None = None) -> Fight:
        self.journal = make_journal(players=3)
        (fight,) = make_fights(self.journal, 1, random.Random(7))
        return self.journal.offer(replace(fight, failure=failure))

    def add_world(self) -> None:
        with self.oracle() as oracle:
            oracle.add_world(self.journal)

    @contextmanager
    def oracle(self) -> Iterator[Oracle]:
        with closing(Oracle(self.pair.database_url(), self.pair.redis_url())) as oracle:
            yield oracle

    def hand_over(self, fight: Fight, door: str) -> None:
        """Once, and then until the engine knows that it is accepted."""
        self.engine.order(door, fight)

    def insist(self, fight: Fight, door: str) -> None:
        """What a sender does once the trouble is over: it repeats until it knows.

        One that knows goes on with other combats.
        """
        if not self.engine.is_alive:
            self.engine = self._hire_engine()
        self.engine.order(HEARTBEAT, fight)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self._is_accepted(fight, door):
            assert time.monotonic() < deadline, "the engine gets no answer"
            self._hand_over_and_hear(fight, door)
            if door == SEND:
                time.sleep(RESEND_SECONDS)
        self.journal.accepted.add(fight.session_id)

    def _hand_over_and_hear(self, fight: Fight, door: str) -> None:
        answers = self.engine.told[fight.session_id]
        heard = len(answers)
        self.engine.order(door, fight)
        wait_until(lambda: len(answers) > heard, "the engine has an answer")

    def start_replay(self, fight: Fight) -> None:
        env = self.pair.environment(
            DATABASE_URL=self.pair.database_url(self.lines["admin-postgres"].port),
            DJANGO_SETTINGS_MODULE="settlement_project.settings",
        )
        self.admin = subprocess.Popen(
            mortal(sys.executable, "-c", _REPLAY, str(fight.session_id)),
            cwd=PROJECT_ROOT,
            env=environment(**env),
            stderr=subprocess.DEVNULL,
        )

    def end_replay(self) -> None:
        if self.admin is not None:
            self.admin.kill()
            self.admin.wait()
            self.admin = None

    def release(self) -> None:
        self.staff.thaw()
        for line in self.lines.values():
            line.forget()
            line.resume()

    def _hire_engine(self) -> EngineProcess:
        return EngineProcess(
            self.pair.redis_url(self.lines["engine-redis"].port),
            self.pair.redis_url(self.lines["engine-broker"].port),
        )

    def _is_accepted(self, fight: Fight, door: str) -> bool:
        if door == SUBMIT:
            told = self.engine.told[fight.session_id]
            return bool({"accepted", "duplicate"} & set(told))
        with self.oracle() as oracle:
            found = oracle.database.execute(
                "SELECT 1 FROM combat_history WHERE session_id = %s", [fight.session_id]
            )
            return found.fetchone() is not None


@dataclass(frozen=True)
class Point:
    """A moment in the life of a combat. `process`: whose kill -9 belongs to it."""

    line: str
    hold: Callable[[Proxy, Fight], Fault]
    process: str = "worker"
    door: str = SUBMIT
    begin: Callable[[Stage, Fight], None] = lambda stage, fight: stage.add_world()
    act: Callable[[Stage, Fight], None] | None = None
    """What brings the combat to this point, where that is no plain hand-over."""
    beside: Callable[[Stage, Fight], None] = lambda stage, fight: None
    """What happens while work is held here, whatever breaks then."""
    end: Callable[[Stage, Fight], None] = lambda stage, fight: None
    """What a person does once the trouble is over."""
    failure: str | None = None
    """The code that the combat ends with."""

    def reach(self, stage: Stage, fight: Fight) -> None:
        """Returns once work is held here."""
        self.begin(stage, fight)
        held = self.hold(stage.lines[self.line], fight)
        if self.act is None:
            stage.hand_over(fight, self.door)
        else:
            self.act(stage, fight)

        def is_held() -> bool:
            # One whose broker was restarted may only now find that it cannot go on.
            stage.staff.supervise()
            return held.struck.is_set()

        wait_until(is_held, "the combat has come to this point")
        self.beside(stage, fight)


def _before(*words: bytes) -> Callable[[Proxy, Fight], Fault]:
    return lambda line, fight: line.hold_request(_pattern(words, fight))


def _answer_to(*words: bytes) -> Callable[[Proxy, Fight], Fault]:
    return lambda line, fight: line.hold_reply_to(_pattern(words, fight))


def _pattern(words: tuple[bytes, ...], fight: Fight) -> bytes:
    """The session id, where no words are given."""
    return words[0] if words else str(fight.session_id).encode()


def _answer_about_a_player(line: Proxy, fight: Fight) -> Fault:
    """The reply to the statement that locks the characters."""
    return line.hold_reply_to(str(next(iter(fight.shares))).encode())


def _reply_with_message(line: Proxy, fight: Fight) -> Fault:
    return line.hold_reply(str(fight.session_id).encode())


def _nothing(*_: object) -> Fault:
    """Nobody is held: the act itself leaves the combat where it is to be."""
    fault = Fault(b"", on_request=True)
    fault.struck.set()
    return fault


def _send_to_frozen_staff(stage: Stage, fight: Fight) -> None:
    stage.staff.freeze()
    stage.hand_over(fight, SEND)
    with stage.oracle() as oracle:
        wait_until(lambda: oracle.redis.llen("celery"), "a message waits")


def _only_the_sweep_knows(stage: Stage, fight: Fight) -> None:
    """A receipt that Redis has forgotten."""
    del fight.document["replay_log"]
    with stage.oracle() as oracle:
        oracle.database.execute(
            "INSERT INTO combat_history (session_id, participant_ids, finished_at, "
            "result_payload, due_at) VALUES (%s, %s, to_timestamp(%s), %s, 'epoch')",
            [
                fight.session_id,
                list(fight.shares),
                fight.finished_at,
                json.dumps(fight.document),
            ],
        )


def _failed_before(stage: Stage, fight: Fight) -> None:
    """The characters come too late: the combat has failed, and can be replayed."""
    stage.insist(fight, SUBMIT)
    with stage.oracle() as oracle:
        wait_until(
            lambda: oracle.database.execute(
                "SELECT 1 FROM combat_history WHERE session_id = %s "
                "AND settlement_status = 'failed'",
                [fight.session_id],
            ).fetchone(),
            "the combat has failed",
        )
        wait_until(oracle.is_quiet, "its effects are applied")
        oracle.add_world(stage.journal)


def _replay_if_still_failed(stage: Stage, fight: Fight) -> None:
    stage.end_replay()
    with stage.oracle() as oracle:
        wait_until(oracle.is_quiet, "no replay is under way")
        (row,) = oracle.database.execute(
            "SELECT settlement_status FROM combat_history WHERE session_id = %s",
            [fight.session_id],
        )
    if row["settlement_status"] == "failed":
        stage.start_replay(fight)


def _abandoned(stage: Stage, fight: Fight) -> None:
    """A live session whose engine has been silent for too long."""
    stage.add_world()
    silent_since = int(time.time() * 1000) - ABANDONED_MS
    session: dict[bytes | bytearray | memoryview | str | int | float, Any] = {
        "status": "active",
        "participants": json.dumps(list(fight.shares)),
        "heartbeat": silent_since,
    }
    for character_id in fight.shares:
        session[f"actor:{character_id}"] = json.dumps({"hp": 1, "energy": 1})
    with stage.oracle() as oracle:
        oracle.redis.hset(f"cs:{fight.session_id}", mapping=session)


def _fall_silent(stage: Stage, fight: Fight) -> None:
    with stage.oracle() as oracle:
        oracle.redis.zadd("combat:active", {str(fight.session_id): 1})


def _be_heard_of_after_all(stage: Stage, fight: Fight) -> None:
    """The real result comes first; the forced one is on its way already."""
    stage.hand_over(fight, SUBMIT)
    wait_until(lambda: stage.engine.told[fight.session_id], "the engine has an answer")


TOMBSTONE = b"combat:result_cache:"
"""Only the script that finishes combats is given this."""

POINTS: dict[str, Point] = {
    "P0": Point("engine-redis", _before(), "engine"),
    "P1": Point("engine-redis", _answer_to(), "engine"),
    "P2": Point("engine-broker", _before(b"settle_inbox"), "engine"),
    "P3": Point("engine-broker", _answer_to(b"LPUSH"), "engine", SEND),
    "P4": Point("worker-broker", _nothing, door=SEND, act=_send_to_frozen_staff),
    "P5": Point("worker-broker", _reply_with_message, door=SEND),
    "P6": Point("worker-redis", _before(), door=SEND),
    "P7": Point("worker-postgres", _answer_about_a_player),
    "P8": Point("worker-postgres", _answer_to(b"COMMIT")),
    "P9": Point("worker-redis", _before(TOMBSTONE)),
    "P10": Point("worker-redis", _answer_to(TOMBSTONE)),
    "P11": Point("worker-broker", _before(b"HDEL")),
    "P12": Point("worker-broker", _answer_to(b"HDEL")),
    "P13": Point("worker-redis", _before(), act=_only_the_sweep_knows),
    "P14": Point(
        "admin-postgres",
        _answer_to(b"COMMIT"),
        "admin",
        begin=_failed_before,
        act=Stage.start_replay,
        end=_replay_if_still_failed,
    ),
    "P15": Point("worker-postgres", _answer_to(b"COMMIT"), failure="unknown_item"),
    "P16": Point(
        "worker-redis",
        _before(b"abandoned"),
        begin=_abandoned,
        act=_fall_silent,
        beside=_be_heard_of_after_all,
    ),
}
