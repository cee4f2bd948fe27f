"""What has to be true, by the journals of the engine, the admin and the storm.

Of fights that the system itself ends (their engine was silent) the rows are read: they
are right where they say no more than what the engine wrote into the live session.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.storm.activities.doors import other, respelt
from tests.storm.activities.inventory import parks_as
from tests.storm.book import Line, lines_of
from tests.storm.game import fight_of
from tests.storm.world import HERB
from tests.support.journal import Fight, Journal, Share

UNSURE_SECONDS = 60
"""What Redis alone knew may be gone where it was emptied so soon after."""

MENDED_SECONDS = 15
"""After Redis was emptied the engine's next calls hand over again what it has lost."""

AMNESIA = ("flush",)
LOSSY = ("flush", "fail-over")

Row = dict[str, Any]
Document = dict[str, Any]


@dataclass
class Operations:
    """By player and operation: the code it is parked with, None where it is applied."""

    expected: dict[tuple[int, str], str | None] = field(default_factory=dict)
    answered: set[tuple[int, str]] = field(default_factory=set)


class Story:
    """`findings`: what was wrong already when it was written down."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.journal = journal
        self.findings: list[str] = []
        self.operations = Operations()
        self.travels: list[Line] = []
        self.doors: Counter[str] = Counter()
        self.ended_by_system: dict[UUID, Line] = {}
        self.broken: list[UUID] = []
        self.trail = lines_of(folder / "trail.jsonl")
        self._by_kind: defaultdict[str, list[Line]] = defaultdict(list)
        for line in lines_of(folder / "engine.jsonl"):
            self._by_kind[line["kind"]].append(line)
        self._desk = lines_of(folder / "desk.jsonl")
        self._offers = {line["sid"]: line for line in self._by_kind["offer"]}
        self._contradicted = {x["sid"]: x for x in self._by_kind["other offer"]}
        journal.has_forgotten = self.happened(LOSSY, 0, float("inf"))
        self._read_fights()
        self._read_contradictions()
        self._read_repetitions()
        self._read_live()
        self._read_desk()
        self._read_operations()
        self._read_snapshots()
        self._read_faults()

    def happened(self, kinds: tuple[str, ...], since: float, until: float) -> bool:
        """Whether such a fault was at work between two moments."""
        return any(
            line["fault"] in kinds and since <= line["at"] <= until
            for line in self.trail
            if line["kind"] in ("begins", "ends")
        )

    def around(self, at: float, before: float = 5, after: float = 1) -> list[str]:
        """What the nemesis did about then, in words."""
        return [
            f"{line['at'] - at:+.2f} s {line['fault']}"
            for line in self.trail
            if line["kind"] == "begins" and at - before <= line["at"] <= at + after
        ]

    def lines_about(self, sid: str) -> list[Line]:
        lines = [line for kind in self._by_kind.values() for line in kind]
        about = [line for line in [*lines, *self._desk] if line.get("sid") == sid]
        return sorted(about, key=lambda line: float(line["at"]))

    def add_forced(self, rows: dict[UUID, Row]) -> None:
        """Learn of what the system ended by itself."""
        for sid, found in rows.items():
            if self._was_forced_and_forgotten(sid, found):
                self.ended_by_system[sid] = self._offers[str(sid)]
                self.journal.conflicts[sid] = 1
                self.journal.unsure_conflicts.add(sid)
        for sid, line in self.ended_by_system.items():
            row = rows.get(sid)
            self._may_be_ended_twice(sid, line)
            if row is None:
                if line["kind"] == "forced" or not self.may_be_forgotten(sid):
                    self.journal.accepted.add(sid)
                continue
            self.journal.accepted.add(sid)
            self.journal.documents[sid] = [row["result_payload"]]
            self.journal.standing[sid] = self._forced(sid, row["result_payload"])

    def _read_fights(self) -> None:
        for line in self._by_kind["offer"]:
            sid = UUID(line["sid"])
            if line["door"] == "none":
                self.broken.append(sid)
            else:
                self.journal.offer(fight_of(line))
        for line in self._by_kind["accepted"]:
            sid = UUID(line["sid"])
            if sid not in self.journal.accepted:
                self.doors[self._offers[line["sid"]]["door"]] += 1
            self.journal.accepted.add(sid)

    def _read_contradictions(self) -> None:
        answers = {line["sid"]: line["answer"] for line in self._by_kind["other"]}
        for text, offer in self._contradicted.items():
            sid, answer = UUID(text), answers.get(text)
            self.journal.conflicts[sid] = 1
            first = min(a["at"] for a in self._by_kind["accepted"] if a["sid"] == text)
            is_lost = self.happened(AMNESIA, first - 1, offer["at"] + UNSURE_SECONDS)
            if is_lost:
                self._may_be_kept(sid, other)
            elif answer not in ("conflict", None):
                self.findings.append(f"{sid}: another document was {answer}")
            if is_lost or answer is None:  # the engine was killed over it
                self.journal.unsure_conflicts.add(sid)

    def _read_repetitions(self) -> None:
        for line in self._by_kind["respelt offer"]:
            # The same document: where the first was forgotten this one is kept.
            self._may_be_kept(UUID(line["sid"]), respelt)
        for line in [*self._by_kind["again"], *self._by_kind["refused"]]:
            is_right = line["answer"] in ("accepted", "duplicate")
            if not is_right and line["sid"] not in self._contradicted:
                self.findings.append(
                    f"{line['sid']}: the same document was {line['answer']}"
                    f"{' (respelt)' if line.get('respelt') else ''}"
                )
        for line in self._by_kind["broken"]:
            if line["answer"] != "invalid":
                self.findings.append(f"{line['sid']}: a broken one {line['answer']}")

    def _may_be_kept(self, sid: UUID, change: Callable[[Document], Document]) -> None:
        document = change(self.journal.offered[sid].document)
        self.journal.documents.setdefault(sid, []).append(document)

    def _read_live(self) -> None:
        """Fights whose engine gave no result, or was told that another one stands."""
        accepted = {line["sid"] for line in self._by_kind["accepted"]}
        told = {line["sid"]: line for line in self._by_kind["forced"]}
        for sid, line in self._offers.items():
            if line["door"] != "live" or sid in accepted:
                continue
            self.ended_by_system[UUID(sid)] = told.get(sid, line)
            if sid in told:
                self.journal.conflicts[UUID(sid)] = 1
                at = told[sid]["at"]
                if self.happened(AMNESIA, at - UNSURE_SECONDS, at + UNSURE_SECONDS):
                    self.journal.unsure_conflicts.add(UUID(sid))

    def _may_be_ended_twice(self, sid: UUID, line: Line) -> None:
        """Redis was emptied, and the engine has begun it there once more: the sweep of
        an older worker ends it without a look at its row. What it makes is no result,
        but a conflict that people see."""
        if self.happened(AMNESIA, line["at"] - UNSURE_SECONDS, float("inf")):
            told = self.journal.conflicts.get(sid, 0)
            self.journal.conflicts[sid] = told + 1
            self.journal.unsure_conflicts.add(sid)

    def _was_forced_and_forgotten(self, sid: UUID, row: Row) -> bool:
        """A late result that Redis took for the first one: it was emptied since."""
        offer = self._offers[str(sid)]
        is_forced = bool(row["result_payload"]["meta"].get("forced"))
        return (
            offer["door"] == "live"
            and is_forced
            and sid not in self.ended_by_system
            and self.happened(AMNESIA, offer["at"], float("inf"))
        )

    def may_be_forgotten(self, sid: UUID) -> bool:
        """Left by its engine, and never begun as far as that was told, or begun before
        an amnesia."""
        if sid not in self.ended_by_system:
            return False
        begun = [x for x in self._by_kind["started"] if x["sid"] == str(sid)]
        return not begun or self.happened(LOSSY, begun[0]["at"] - 1, float("inf"))

    def _forced(self, sid: UUID, document: dict[str, Any]) -> Fight:
        """As the row has it, once it says nothing that the engine has not written."""
        fight = self.journal.offered[sid]
        shares = {}
        for char_id, offered in fight.shares.items():
            part = document["participants"].get(str(char_id), {})
            used = part.get("changes", {}).get("items_consumed", [])
            flasks = sum(use["qty"] for use in used)
            if not self._is_right(sid, char_id, flasks, offered):
                self.findings.append(
                    f"{sid}: forced with {flasks} flasks of {char_id}, used were "
                    f"{offered.flasks}"
                )
            shares[char_id] = Share(flasks=flasks, hp=0, energy=0)
        if not document["meta"].get("forced"):
            self.findings.append(f"{sid}: settled with a result that nobody gave")
        return replace(
            fight, finished_at=document["meta"]["end_timestamp"], shares=shares
        )

    def _is_right(self, sid: UUID, char_id: int, found: int, offered: Share) -> bool:
        if found == offered.flasks:
            return True
        noted = [
            line
            for line in self._by_kind["used"]
            if line["sid"] == str(sid) and line["char"] == char_id
        ]
        is_sure = noted and not self.happened(LOSSY, noted[0]["at"] - 1, float("inf"))
        return found == 0 and not is_sure

    def _read_desk(self) -> None:
        for line in self._desk:
            if line["kind"] != "done" or line["ended"] is None:
                continue
            sid, ended = UUID(line["sid"]), line["ended"]
            if ended == "voided":
                self.journal.voided.add(sid)
            elif ended.startswith("undone"):
                self.journal.undone.add(sid)
            elif ended == "corrected":
                self.journal.standing[sid] = corrected(self.journal.offered[sid])
            elif ended != "replayed" and not _came_too_late(line):
                self.findings.append(f"{sid}: {line['verb']} was {ended}")

    def _read_operations(self) -> None:
        calls = {line["call"]: line for line in self._by_kind["ops offer"]}
        for line in calls.values():
            for operation in line["ops"]:
                code = parks_as(operation)
                self.operations.expected[line["char"], operation["op_id"]] = code
                if code is None and operation["op"] != "split":
                    sign = 1 if operation["op"] == "add" else -1
                    qty = sign * operation["qty"]
                    self.journal.others[line["char"], HERB] += qty
        for line in self._by_kind["ops"]:
            for operation in calls[line["call"]]["ops"]:
                self.operations.answered.add((line["char"], operation["op_id"]))

    def _read_snapshots(self) -> None:
        """In a fight that was left it is the fight's end that says how players are."""
        self.journal.vitals = dict.fromkeys(self.journal.potions)
        left = {
            char_id
            for sid in self.ended_by_system
            for char_id in self.journal.offered[sid].shares
        }
        for line in self._by_kind["healed"]:
            if line["char"] not in left:
                self.journal.vitals[line["char"]] = line["hp"], line["hp"] % 100
        self.travels = self._by_kind["travelled"]

    def _read_faults(self) -> None:
        for line in self._by_kind["fault"]:
            self.findings.append(f"engine, {line['activity']}: {line['error']}")
        for line in self._by_kind["bad answer"]:
            self.findings.append(f"{line['sid']}: HTTP {line['status']}")


def corrected(fight: Fight) -> Fight:
    """What a flawed fight gives once the first player's loot is in the catalogue."""
    first, *_ = fight.shares
    shares = {**fight.shares, first: replace(fight.shares[first], loot=1)}
    return replace(fight, shares=shares, failure=None)


def _came_too_late(line: Row) -> bool:
    """A corrected or replayed combat was settled before it could be voided."""
    return (line["verb"], line["ended"]) == ("void", "processed")
