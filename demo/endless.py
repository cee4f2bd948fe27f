"""The whole system, endless: worker, beat, web server, Flower, and a few fights."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from random import Random
from typing import TextIO

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from demo import backlog, login, stack, world
from demo.engine import Engine, bare_producer
from demo.opening import prepare_world
from demo.schedule import Schedule, Shares
from demo.stack import Stack
from demo.submission import Submission
from demo.watch import Watch
from devservers import kept, ports
from persistence.dispatcher import SyncDispatcher

FIGHTS_A_SECOND = 1.0
SEASON = 300
"""Fights until belts are filled up and purses are read again."""

SHARES = Shares(late=1, unknown_loot=0.5, malformed=0.5, shortage=0.5, conflict=0.5)
WAIT_SECONDS = 60
"""For the last fights of a season."""

POLL_SECONDS = 0.1
WEB_PORT = 8000
FLOWER_PORT = 5555


class Endless:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def perform(self) -> None:
        """Returns never; ends by the KeyboardInterrupt or SystemExit of a signal."""
        prepare_world()
        password_file = stack.data_dir() / "admin-password"
        password = kept.secret(password_file)
        shown = password if login.admin_accepts(password) else "(the one you set)"
        web_port = ports.next_free(WEB_PORT)
        flower_port = ports.next_free(FLOWER_PORT)
        backlog.make_due()
        programs = [
            stack.worker(),
            stack.beat(),
            stack.web(web_port),
            stack.flower(flower_port, login.USER, password),
        ]
        self._say("Starting worker, beat, web server and Flower ...")
        with Stack(programs, self._say) as processes:
            self._say(
                f"Admin    http://127.0.0.1:{web_port}/admin/   "
                f"login {login.USER}, password {shown}\n"
                f"Flower   http://127.0.0.1:{flower_port}/         "
                f"login {login.USER}, password {password}\n"
                f"Servers  {_servers()}\n"
                f"Logs     {stack.data_dir() / 'logs'}\n"
                "Ctrl-C stops everything."
            )
            asyncio.run(self._play(processes))

    async def _play(self, processes: Stack) -> None:
        dispatcher = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
        producer = bare_producer(settings.BROKER_URL)
        try:
            while True:
                schedule = await sync_to_async(_schedule)()
                if schedule is None:
                    await asyncio.sleep(1)
                    continue
                engine = Engine(dispatcher, producer, self._answered)
                await self._season(engine, schedule, processes)
        finally:
            await dispatcher.aclose()

    async def _season(
        self, engine: Engine, schedule: Schedule, processes: Stack
    ) -> None:
        watch = Watch()
        sent: dict[str, Submission] = {}
        playing = asyncio.create_task(
            engine.play(_noted(schedule, watch, sent), FIGHTS_A_SECOND)
        )
        last_progress = time.monotonic()
        try:
            while not (playing.done() and watch.is_complete):
                await asyncio.sleep(POLL_SECONDS)
                for session_id, ending in (await watch.refresh()).items():
                    self._tell(sent.pop(session_id), ending)
                    last_progress = time.monotonic()
                await engine.resend(watch.missing)
                processes.revive()
                if playing.done():
                    await playing
                    if time.monotonic() - last_progress > WAIT_SECONDS:
                        self._say("\n".join(watch.lines()))
                        return
        finally:
            playing.cancel()

    def _tell(self, submission: Submission, ending: str) -> None:
        players = f"{len(submission.gains)} players" if submission.gains else "no gain"
        self._say(
            f"{_clock()} {submission.session_id} {submission.kind}, {players}, "
            f"by {submission.door}: {ending}"
        )

    def _answered(self, submission: Submission, answer: str, sent_at: float) -> None:
        if not submission.is_combat:
            self._say(
                f"{_clock()} {submission.session_id} {submission.kind}, "
                f"by {submission.door}: {answer}, changes nothing"
            )

    def _say(self, message: str) -> None:
        self._out.write(f"{message}\n")
        self._out.flush()


def _servers() -> str:
    if "DATABASE_URL" in os.environ and "REDIS_URL" in os.environ:
        return "those of DATABASE_URL and REDIS_URL"
    return f"embedded; for other terminals: source {stack.data_dir() / 'env'}"


def _schedule() -> Schedule | None:
    """The next season's fights; None while PostgreSQL is away."""
    try:
        world.restock()
        fighters = world.read_fighters()
    except (OperationalError, InterfaceError):
        connection.close()
        return None
    return Schedule(
        Random(),  # noqa: S311 -- a game, not a secret
        fighters,
        SEASON,
        start=int(time.time()),
        rate=FIGHTS_A_SECOND,
        shares=SHARES,
    )


def _noted(
    schedule: Schedule, watch: Watch, sent: dict[str, Submission]
) -> Iterator[Submission]:
    for submission in schedule:
        watch.expect(submission)
        if submission.is_combat:
            sent[submission.session_id] = submission
        yield submission


def _clock() -> str:
    return time.strftime("%H:%M:%S")
