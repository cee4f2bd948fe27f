"""What the admin does, and what is written down of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, connection

from combat_history.actions import correct, replay, undo, void
from combat_history.actions import mode as control
from persistence.contract.errors import DomainFailure, PayloadInvalid
from persistence.worker import mode as settlement
from tests.storm.book import Book, Reader, lines_of
from tests.storm.game import fight_of
from tests.support.journal import PELT, Fight

REASON = "what a storm asks for"
TURN_SECONDS = 0.7
PAUSED_SECONDS = (0.5, 3.0)
RIPE_SECONDS = 3.0
"""A fight is looked at once it has had time to settle."""

ADMIN = "storm"

Done = str | None
"""How an action ended; None where its fight was not ripe for it."""


class Desk:
    def __init__(self, folder: Path, seed: str) -> None:
        self._engine = Reader(folder / "engine.jsonl")
        past = lines_of(folder / "desk.jsonl")
        self._book = Book(folder / "desk.jsonl")
        self._chance = random.Random(f"{seed}:{len(past)}")
        self._offered: dict[str, Fight] = {}
        self._flawed: list[tuple[float, str]] = []
        self._sound: list[tuple[float, str]] = []
        self._done = {line["sid"] for line in past if line["kind"] == "done"}
        self._begun = {
            line["sid"]: line for line in past if line["kind"] == "asked"
        }.values()
        self._user: User | None = None
        self.finishing = threading.Event()

    def work(self) -> None:
        for line in self._begun:
            if line["sid"] not in self._done:
                self._carry_out(line["verb"], line["sid"], again=True)
        self._until_told(self._resume)
        while not self.finishing.wait(TURN_SECONDS):
            self._read()
            self._turn()
        self._until_told(self._resume)
        self._book.write("ended")

    def _turn(self) -> None:
        dice = self._chance
        if dice.random() < 0.04:
            self._pause()
        elif dice.random() < 0.5 and (sid := self._ripe(self._sound)):
            self._carry_out("undo", sid)
        elif sid := self._ripe(self._flawed):
            self._carry_out(dice.choice(("void", "correct", "replay")), sid)

    def _read(self) -> None:
        lines = self._engine.new_lines()
        for line in lines:
            if line["kind"] == "offer" and line["door"] not in ("none", "live"):
                self._offered[line["sid"]] = fight_of(line)
            elif line["kind"] == "accepted" and line["sid"] in self._offered:
                sid = line["sid"]
                if sid in self._done:
                    continue
                is_flawed = self._offered[sid].failure
                kind = self._flawed if is_flawed else self._sound
                kind.append((line["at"], sid))
        del self._sound[:-500]

    def _ripe(self, fights: list[tuple[float, str]]) -> str | None:
        for place, (at, sid) in enumerate(fights):
            if at < time.time() - RIPE_SECONDS:
                del fights[place]
                return sid
        return None

    def _carry_out(self, verb: str, sid: str, *, again: bool = False) -> None:
        if not again:
            self._book.write("asked", verb=verb, sid=sid)
        actions: dict[str, Callable[[UUID], Done]] = {
            "void": self._void,
            "undo": self._undo,
            "replay": self._replay,
            "correct": self._correct,
        }
        self._done.add(sid)
        ended = self._until_told(lambda: actions[verb](UUID(sid)))
        self._book.write("done", verb=verb, sid=sid, ended=ended)

    def _void(self, sid: UUID) -> Done:
        result = void.void([sid], actor=self._actor(), reason=REASON)
        return "voided" if sid in result.voided else result.skipped[sid] or None

    def _undo(self, sid: UUID) -> Done:
        done = undo.undo_combat(
            sid, actor=self._actor(), reason=REASON, on_shortage="record"
        )
        if done.undo is None and done.skipped is not undo.SkipReason.UNDONE:
            return None
        return "undone" if done.announced else "undone, unannounced"

    def _replay(self, sid: UUID) -> Done:
        done = replay.replay([sid], actor=self._actor(), reason=REASON)
        return "replayed" if sid in done.replayed else None

    def _correct(self, sid: UUID) -> Done:
        """Loot that the catalogue has; then it is settled after all."""
        fight = self._fight(sid)
        document = {k: v for k, v in fight.document.items() if k != "replay_log"}
        first = next(iter(document["participants"].values()))
        first["changes"]["items_gained"] = [{"item_template_id": PELT, "qty": 1}]
        try:
            correct.correct(sid, document, actor=self._actor(), reason=REASON)
        except correct.NotCorrectable as error:
            # In an earlier life it was, and was put back.
            return "corrected" if error.status == "processed" else None
        except PayloadInvalid:
            pass  # it stands already
        done = replay.replay([sid], actor=self._actor(), reason=REASON)
        is_on_its_way = done.skipped.get(sid) in (
            replay.SkipReason.PENDING,
            replay.SkipReason.PROCESSED,
        )
        return "corrected" if sid in done.replayed or is_on_its_way else None

    def _pause(self) -> None:
        mode = self._chance.choice((settlement.Mode.PAUSED, settlement.Mode.DRAINING))
        self._book.write("mode", mode=str(mode))
        self._until_told(lambda: self._set(mode))
        self.finishing.wait(self._chance.uniform(*PAUSED_SECONDS))
        self._until_told(self._resume)

    def _resume(self) -> None:
        self._set(settlement.Mode.RUNNING)
        self._book.write("mode", mode="running")

    def _set(self, mode: settlement.Mode) -> None:
        control.set_mode(mode, actor=control.command_actor(), reason=REASON)

    def _until_told(self, act: Callable[[], Any]) -> Any:
        while True:
            try:
                return act()
            except (DatabaseError, InterfaceError, psycopg.Error) as error:
                self._book.write("trouble", error=repr(error)[:200])
                connection.close()
                self._user = None
                time.sleep(0.3)
            except DomainFailure as error:
                return f"refused: {error.code}"

    def _actor(self) -> User:
        if self._user is None:
            self._user = User.objects.get(username=ADMIN)
        return self._user

    def _fight(self, sid: UUID) -> Fight:
        while str(sid) not in self._offered:
            self._read()
        return self._offered[str(sid)]
