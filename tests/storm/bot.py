"""The bot: asks over HTTP what became of fights, and doubts every answer at once."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.storm import http
from tests.storm.book import Line, Reader

RECENT = 300
PACE_SECONDS = 0.1

IS_PROCESSED = """
SELECT settlement_status = 'processed' FROM combat_history WHERE session_id = %s
"""


@dataclass
class Known:
    """A fight that the engine has told the system of."""

    sid: str
    char_id: int
    since: float
    is_over: bool


@dataclass
class Doubt:
    """An answer that cannot be true, unless a fault of that moment allows it."""

    at: float
    sid: str
    since: float
    what: str
    answer: str


@dataclass
class Bot:
    """Asks until it is stopped, in a thread of its own."""

    folder: Path
    address: str
    database_url: str
    seed: int
    asked: int = 0
    unanswered: int = 0
    later: int = 0
    doubts: list[Doubt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = Reader(self.folder / "engine.jsonl")
        self._chance = random.Random(self.seed)
        self._players: dict[str, int] = {}
        self._all: list[Known] = []
        self._recent: deque[Known] = deque(maxlen=RECENT)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _ask_on(self) -> None:
        while not self._stopped.wait(PACE_SECONDS):
            for line in self._reader.new_lines():
                self._learn(line)
            if self._all:
                kind = self._recent if self._chance.random() < 0.8 else self._all
                self._ask(self._chance.choice(kind))

    def _learn(self, line: Line) -> None:
        sid = line.get("sid", "")
        if line["kind"] == "offer" and line["door"] != "none":
            self._players[sid] = int(next(iter(line["shares"])))
        elif line["kind"] in ("started", "accepted"):
            is_over = line["kind"] == "accepted"
            known = Known(sid, self._players[sid], line["at"], is_over)
            self._all.append(known)
            self._recent.append(known)

    def _ask(self, known: Known) -> None:
        asked_at = time.time()
        path = f"/api/combats/{known.sid}/result?char_id={known.char_id}&lang=en"
        status, body = http.ask(self.address, path)
        self.asked += 1
        if status is None:
            self.unanswered += 1
        elif status == 404:
            self._doubt(known, asked_at, "unknown", str(body.get("code")))
        elif http.is_untrue(status, body):
            self._doubt(known, asked_at, f"status {status}", str(body)[:200])
        elif status == 503:
            self.later += 1
        elif status != 200:
            self._doubt(known, asked_at, f"status {status}", str(body)[:200])
        elif known.is_over and body["state"] != "finished":
            self._doubt(known, asked_at, "not finished", body["state"])
        elif body.get("credit") == "credited" and not self._is_processed(known.sid):
            self._doubt(known, asked_at, "credited", "and is not processed")

    def _doubt(self, known: Known, at: float, what: str, answer: str) -> None:
        self.doubts.append(Doubt(at, known.sid, known.since, what, answer))

    def _is_processed(self, sid: str) -> bool:
        """What is committed stays: PostgreSQL may be asked as soon as it can be."""
        while not self._stopped.is_set():
            with (
                suppress(psycopg.Error),
                psycopg.connect(self.database_url, connect_timeout=2) as database,
            ):
                row = database.execute(IS_PROCESSED, [sid]).fetchone()
                return row is not None and bool(row[0])
            time.sleep(0.1)
        return True
