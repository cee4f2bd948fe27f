"""The engine's own record: JSON lines, each written before the step it tells of.

The lines "run", "opening", "adventurer", "submission" and "deed" follow from seed,
clock and world alone; "answer" lines tell when a door took what, "told" lines what an
adventurer got to hear, and both come in the order of life.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from demo import deeds
from demo.deeds import Deed
from demo.fates import Fate
from demo.submission import Submission
from demo.world import Balance


class Journal:
    """Appends to a new file; what is written survives the death of this process.

    Raises CommandError where the run of this name has been played before: over the
    same tables its fights are known already.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        # Line buffered: kill -9 may cut the last line, never lose one before it.
        try:
            self._file = path.open("x", encoding="utf-8", buffering=1)
        except FileExistsError:
            raise CommandError(
                f"{path} exists: this run has been played already. Take another "
                "--seed or --clock, or start over without the data directory."
            ) from None

    def run(self, **settings: Any) -> None:
        self._write({"event": "run", **settings})

    def opening(self, balances: dict[int, Balance]) -> None:
        for char_id, balance in balances.items():
            self._write({"event": "opening", "character": char_id, **asdict(balance)})

    def adventurers(self, fates: dict[int, Fate]) -> None:
        for char_id, fate in fates.items():
            record = {"event": "adventurer", "character": char_id, **fate.record()}
            self._write(record)

    def deed(self, number: int, deed: Deed) -> None:
        self._write({"event": "deed", "number": number, **deeds.to_record(deed)})

    def told(self, number: int, answer: str) -> None:
        self._write({"event": "told", "number": number, "answer": answer})

    def submission(self, submission: Submission) -> None:
        self._write(submission.record())

    def answer(self, submission: Submission, answer: str, sent_at: float) -> None:
        self._write(
            {
                "event": "answer",
                "session_id": submission.session_id,
                "kind": submission.kind,
                "door": submission.door,
                "answer": answer,
                "sent_at": sent_at,
            }
        )

    def close(self) -> None:
        self._file.close()

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")


class Record:
    """A journal read back from its file."""

    def __init__(self, path: Path) -> None:
        self.opening: dict[int, Balance] = {}
        self.submissions: list[Submission] = []
        self.sent_at: dict[str, float] = {}
        """When a session was first sent (Unix time)."""
        self.adventurers: dict[int, Fate] = {}
        self.deeds: dict[int, Deed] = {}
        self.told: dict[int, str] = {}
        """The last answer to every deed."""
        for line in _lines(path):
            match line["event"]:
                case "opening":
                    self.opening[line["character"]] = _balance(line)
                case "submission":
                    self.submissions.append(Submission.from_record(line))
                case "adventurer":
                    self.adventurers[line["character"]] = Fate.from_record(line)
                case "deed":
                    self.deeds[line["number"]] = deeds.from_record(line)
                case "told":
                    self.told[line["number"]] = line["answer"]
                case "answer":
                    self._answer(line)

    def _answer(self, line: dict[str, Any]) -> None:
        session_id, sent_at = line["session_id"], line["sent_at"]
        self.sent_at[session_id] = min(sent_at, self.sent_at.get(session_id, sent_at))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _balance(line: dict[str, Any]) -> Balance:
    return Balance(
        xp=line["xp"],
        gold=line["gold"],
        hp=line["hp"],
        energy=line["energy"],
        vitals=(line["vitals"][0], line["vitals"][1]),
        pieces=line["pieces"],
        durability={int(row): points for row, points in line["durability"].items()},
    )
