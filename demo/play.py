"""One demo from the first process to the verdict."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import TextIO

from asgiref.sync import sync_to_async
from django.conf import settings
from tqdm import tqdm

from demo import backlog, census, stack, world
from demo.adventure import ABANDONED_SECONDS, Adventure, Numbered
from demo.adventurers import Adventurer
from demo.deeds import Deed
from demo.engine import Engine, bare_producer
from demo.journal import Journal, Record
from demo.opening import prepare_world
from demo.progress import Progress
from demo.schedule import Schedule
from demo.stack import Program, Stack
from demo.stories import (
    Story,
    old_buttons,
    write_stories,
)
from demo.submission import Submission
from demo.summary import summarise
from demo.watch import Watch
from persistence.dispatcher import SyncDispatcher

LEAST_RATE = 60
"""Deliveries a second: enough to see batches, and a short wait for 500 combats."""

PLAY_SECONDS = 10
"""More combats come faster, so that handing them over takes no longer than this."""

PATIENCE_SECONDS = 120
"""Without any progress: longer than what a killed worker held takes to come back."""

QUIET_SECONDS = 0.5
"""A message between two places is in none of them for an instant."""

POLL_SECONDS = 0.1

HURRY = {
    "SETTLEMENT_ABANDONED_SECONDS": str(ABANDONED_SECONDS),
    "SETTLEMENT_SWEEP_SECONDS": "2",
}
"""What gets lost is found within seconds: a demo does not wait for minutes."""


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
        if held := backlog.lines():
            self._say(f"Settling what an earlier run left: {', '.join(held)}.")
            backlog.make_due()
        programs = [_hurried(stack.worker()), _hurried(stack.beat())]
        with Stack(programs, self._say) as processes:
            self._wait_for_quiet(processes)
            schedule, stories = self._open(journal)
            buttons = asyncio.run(self._fight(processes, journal, schedule, stories))
            self._wait_for_quiet(processes)
            asyncio.run(_press(journal, buttons))
        journal.close()
        return self._judge(path)

    def _open(self, journal: Journal) -> tuple[Schedule, list[Story]]:
        """Note who owns what, and plan fights and adventures accordingly."""
        world.restock()
        journal.run(combats=self._combats, seed=self._seed, clock=self._clock)
        journal.opening(world.read_balances())
        fates = census.read_fates()
        journal.adventurers(fates)
        everybody = world.read_fighters()
        fighters = [one for one in everybody if one.id not in fates]
        suspected = census.suspected_rows()
        stories = write_stories(
            self._random("adventures"),
            [
                Adventurer(one, fates[one.id].bag, suspected[one.id])
                for one in everybody
                if one.id in fates
            ],
            fighters,
            f"{self._clock}-{self._seed}",
            self._clock,
        )
        schedule = Schedule(
            Random(self._seed),  # noqa: S311 -- to be repeated, not to be secret
            fighters,
            self._combats,
            start=self._clock,
            rate=self._rate,
        )
        return schedule, stories

    def _random(self, purpose: str) -> Random:
        return Random(f"{purpose} of {self._seed}")  # noqa: S311 -- to be repeated

    async def _fight(
        self,
        processes: Stack,
        journal: Journal,
        schedule: Iterable[Submission],
        stories: list[Story],
    ) -> list[Numbered]:
        """All fights and all adventures; the buttons to press when all is quiet."""
        watch = Watch()
        sent: list[Submission] = []
        numbers = count(1)
        deeds = [_noted_deeds(journal, numbers, story.deeds) for story in stories]
        dispatcher = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
        producer = bare_producer(settings.BROKER_URL)
        engine = Engine(dispatcher, producer, journal.answer)
        playing = asyncio.create_task(
            engine.play(_noted(schedule, journal, watch, sent), self._rate)
        )
        adventure = Adventure(journal.told)
        travelling = asyncio.create_task(adventure.play(deeds))
        total = sum(map(len, deeds))

        def missing() -> list[str]:
            owed = total - adventure.done
            return [*watch.lines(), *([f"{owed} deeds of adventurers"] if owed else [])]

        patience = _Patience()
        try:
            with Progress(self._combats, total, self._out) as progress:
                while not (playing.done() and travelling.done() and watch.is_complete):
                    for task in (playing, travelling):
                        if task.done():
                            await task
                    if playing.done():
                        await engine.resend(watch.missing)
                    await asyncio.sleep(POLL_SECONDS)
                    await watch.refresh()
                    if processes.revive():
                        await sync_to_async(backlog.return_messages)()
                    state = engine.handed_over, watch.settled, adventure.done
                    progress.show(*state)
                    patience.check(state, missing)
            await asyncio.gather(playing, travelling)
        finally:
            playing.cancel()
            travelling.cancel()
            await adventure.aclose()
            await dispatcher.aclose()
        rng = self._random("buttons")
        pressed = [press for story in stories for press in story.buttons]
        pressed += old_buttons(rng, sent)
        return _noted_deeds(journal, numbers, pressed)

    def _wait_for_quiet(self, processes: Stack) -> None:
        """Until nothing is under way: repeated deliveries too, which change nothing."""
        patience = _Patience()
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < QUIET_SECONDS:
            if size := backlog.size():
                quiet_since = time.monotonic()
            if processes.revive():
                backlog.return_messages()
            patience.check(size, backlog.lines)
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


def _hurried(program: Program) -> Program:
    return replace(program, environment=HURRY)


async def _press(journal: Journal, buttons: list[Numbered]) -> None:
    adventure = Adventure(journal.told)
    try:
        await adventure.play([buttons])
    finally:
        await adventure.aclose()


def _noted_deeds(
    journal: Journal, numbers: Iterator[int], deeds: Iterable[Deed]
) -> list[Numbered]:
    """All of a story is on record before its first deed is done."""
    numbered = [(next(numbers), deed) for deed in deeds]
    for number, deed in numbered:
        journal.deed(number, deed)
    return numbered


def _noted(
    schedule: Iterable[Submission],
    journal: Journal,
    watch: Watch,
    sent: list[Submission],
) -> Iterator[Submission]:
    """Everything is on record before it is sent."""
    for submission in schedule:
        journal.submission(submission)
        watch.expect(submission)
        sent.append(submission)
        yield submission
