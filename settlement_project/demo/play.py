"""One demo from the first process to the verdict."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import TextIO

from asgiref.sync import sync_to_async
from django.conf import settings
from tqdm import tqdm

from persistence.dispatcher import SyncDispatcher
from settlement_project.demo import backlog, stack, world
from settlement_project.demo.engine import Engine, bare_producer
from settlement_project.demo.journal import Journal, Record
from settlement_project.demo.opening import prepare_world
from settlement_project.demo.progress import Progress
from settlement_project.demo.schedule import Schedule
from settlement_project.demo.stack import Stack
from settlement_project.demo.submission import Submission
from settlement_project.demo.summary import summarise
from settlement_project.demo.watch import Watch

LEAST_RATE = 60
"""Deliveries a second: enough to see batches, and a short wait for 500 combats."""

PLAY_SECONDS = 10
"""More combats come faster, so that handing them over takes no longer than this."""

PATIENCE_SECONDS = 120
"""Without any progress: longer than what a killed worker held takes to come back."""

QUIET_SECONDS = 0.5
"""A message between two places is in none of them for an instant."""

POLL_SECONDS = 0.1


class Stalled(Exception):
    """Nothing moves any more and something is missing."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(missing)
        self.missing = missing

    def __str__(self) -> str:
        head = f"No progress for {PATIENCE_SECONDS} s, {len(self.missing)} missing:"
        return "\n  ".join([head, *self.missing[:20]])


class Play:
    """`seed` and `clock` (Unix seconds) decide on every fight and every mishap."""

    def __init__(self, combats: int, seed: int, clock: int, out: TextIO) -> None:
        self._combats = combats
        self._seed = seed
        self._clock = clock
        self._out = out
        self._rate = max(LEAST_RATE, combats / PLAY_SECONDS)

    def perform(self) -> bool:
        """Whether every combat is accounted for exactly once."""
        self._say(f"{self._combats} combats, seed {self._seed}, clock {self._clock}.")
        prepare_world()
        path = stack.data_dir() / "journals" / f"{self._clock}-{self._seed}.jsonl"
        journal = Journal(path)
        self._say(f"Journal: {path}\nLogs: {stack.data_dir() / 'logs'}")
        if held := backlog.size():
            self._say(f"Settling what an earlier run left: {held} entries or messages.")
            backlog.make_due()
        with Stack([stack.worker(), stack.beat()], self._say) as processes:
            self._wait_for_quiet(processes)
            schedule = self._open(journal)
            asyncio.run(self._fight(processes, journal, schedule))
            self._wait_for_quiet(processes)
        journal.close()
        return self._judge(path)

    def _open(self, journal: Journal) -> Schedule:
        """Note who owns what, and plan the fights accordingly."""
        world.restock()
        journal.run(combats=self._combats, seed=self._seed, clock=self._clock)
        journal.opening(world.read_balances())
        return Schedule(
            Random(self._seed),  # noqa: S311 -- to be repeated, not to be secret
            world.read_fighters(),
            self._combats,
            start=self._clock,
            rate=self._rate,
        )

    async def _fight(
        self, processes: Stack, journal: Journal, schedule: Iterable[Submission]
    ) -> None:
        watch = Watch()
        dispatcher = SyncDispatcher(settings.REDIS_URL, settings.CELERY_BROKER_URL)
        producer = bare_producer(settings.CELERY_BROKER_URL)
        engine = Engine(dispatcher, producer, journal.answer)
        playing = asyncio.create_task(
            engine.play(_noted(schedule, journal, watch), self._rate)
        )
        patience = _Patience()
        try:
            with Progress(self._combats, self._out) as progress:
                while not (playing.done() and watch.is_complete):
                    if playing.done():
                        await playing
                        await engine.resend(watch.missing)
                    await asyncio.sleep(POLL_SECONDS)
                    await watch.refresh()
                    if processes.revive():
                        await sync_to_async(backlog.return_messages)()
                    progress.show(engine.handed_over, watch.settled)
                    patience.check((engine.handed_over, watch.settled), watch.lines)
        finally:
            playing.cancel()
            await dispatcher.aclose()

    def _wait_for_quiet(self, processes: Stack) -> None:
        """Until nothing is under way: repeated deliveries too, which change nothing."""
        patience = _Patience()
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < QUIET_SECONDS:
            if size := backlog.size():
                quiet_since = time.monotonic()
            if processes.revive():
                backlog.return_messages()
            patience.check(size, lambda: [f"{backlog.size()} entries or messages"])
            time.sleep(POLL_SECONDS)

    def _judge(self, journal: Path) -> bool:
        summary = summarise(Record(journal))
        self._say(f"\n{summary.text()}")
        reconciled = subprocess.run(
            [sys.executable, "manage.py", "reconcile"],
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
        )
        is_clean = reconciled.returncode == 0
        if is_clean:
            self._say("Reconcile: clean.")
        else:
            self._say(f"Reconcile:\n{reconciled.stdout}{reconciled.stderr}")
        is_right = summary.is_right and is_clean
        verdict = "Every combat is accounted for exactly once."
        self._say(verdict if is_right else "NOT everything is as it must be.")
        return is_right

    def _say(self, message: str) -> None:
        # Also right while a bar is on show.
        tqdm.write(message, file=self._out)
        self._out.flush()


class _Patience:
    def __init__(self) -> None:
        self._state: object = None
        self._since = time.monotonic()

    def check(self, state: object, missing: Callable[[], list[str]]) -> None:
        """Raises Stalled where `state` has been the same for too long."""
        if state != self._state:
            self._state, self._since = state, time.monotonic()
        elif time.monotonic() - self._since > PATIENCE_SECONDS:
            raise Stalled(missing())


def _noted(
    schedule: Iterable[Submission], journal: Journal, watch: Watch
) -> Iterator[Submission]:
    """Everything is on record before it is sent."""
    for submission in schedule:
        journal.submission(submission)
        watch.expect(submission)
        yield submission
