"""Which fights come, in which order they are delivered, and what goes wrong.

The outcome of every fight is certain before it is sent, although the system is free
to settle in any order:
- no fight uses up more of a belt row, or takes more gold as a penalty, than was there
  before the run, whatever happens in between (shortages have victims of their own);
- XP, gold and pieces are sums, wear stops at zero, and of hp and energy the newest
  fight decides, by its end and its session id.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from uuid import UUID

from demo import documents
from demo.documents import FAULTS, Document, Gain
from demo.fights import Actor, monsters, player, shadow, simulate
from demo.shortages import fall_short
from demo.submission import Door, Kind, Outcome, Submission
from demo.world import Fighter
from persistence.contract.identity import identity

MIN_COMBATS = 10
"""Below this not every kind of mishap has room."""

TASK_SHARE = 0.25
"""Fights that an engine without our code hands over by a bare `send_task`."""

HELD_BACK_SECONDS = 90
MAX_VICTIMS = 50


@dataclass(frozen=True)
class Shares:
    """Percent of the combats; each kind comes at least once."""

    late: float = 3
    unknown_loot: float = 2
    shortage: float = 2
    malformed: float = 2
    duplicate: float = 6
    conflict: float = 2


def uuid7(milliseconds: int, rng: Random) -> str:
    """A time-ordered session id (RFC 9562); the standard library has it from 3.14."""
    value = milliseconds << 80 | rng.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


class Schedule:
    """All deliveries of a run, in order. Everything random comes from `rng`.

    `start` (Unix seconds) and `rate` (fights a second) are the clock of the game: with
    the same clock, generator and fighters a run repeats itself to the byte.
    """

    def __init__(
        self,
        rng: Random,
        fighters: list[Fighter],
        combats: int,
        *,
        start: int,
        rate: float,
        shares: Shares | None = None,
    ) -> None:
        self._rng = rng
        self._start = start
        self._rate = rate
        self._shares = shares or Shares()
        self._kinds = self._order(combats)
        shortages = self._kinds.count(Kind.SHORTAGE)
        victims = min(shortages, MAX_VICTIMS, len(fighters) // 4)
        shuffled = rng.sample(fighters, len(fighters))
        self._victims, self._fighters = shuffled[:victims], shuffled[victims:]
        self._held: list[tuple[int, int, Submission]] = []
        self._serial = count()
        self._met = {kind: count() for kind in Kind}
        self._last_fighters: list[Fighter] = []

    def __iter__(self) -> Iterator[Submission]:
        repeated, disputed = self._extras()
        for number, kind in enumerate(self._kinds):
            if kind is Kind.LATE:
                yield self._rematch_first(number)
            elif kind is not Kind.REMATCH:
                submission = self._submission(number, kind)
                if number in disputed:
                    submission = self._answered(submission)
                    self._hold(self._conflict(submission), number, 0, 60)
                yield submission
                if number in repeated:
                    for _ in range(self._rng.randint(1, 2)):
                        self._hold(self._duplicate(submission), number, 0, 40)
            yield from self._released(number)
        yield from self._released(None)

    def _order(self, combats: int) -> list[Kind]:
        shares = self._shares
        late = _part(combats, shares.late)
        singles = {
            Kind.UNKNOWN_LOOT: _part(combats, shares.unknown_loot),
            Kind.SHORTAGE: _part(combats, shares.shortage),
            Kind.MALFORMED: _part(combats, shares.malformed),
        }
        singles[Kind.FIGHT] = combats - 2 * late - sum(singles.values())
        blocks = [[Kind.LATE, Kind.REMATCH]] * late
        for kind, amount in singles.items():
            blocks += [[kind]] * amount
        self._rng.shuffle(blocks)
        return [kind for block in blocks for kind in block]

    def _extras(self) -> tuple[set[int], set[int]]:
        """Numbers of the fights to be sent again, and of those to be disputed."""
        plain = [n for n, kind in enumerate(self._kinds) if kind is Kind.FIGHT]
        combats = len(self._kinds)
        repeated = _part(combats, self._shares.duplicate)
        disputed = _part(combats, self._shares.conflict)
        chosen = self._rng.sample(plain, repeated + disputed)
        return set(chosen[:repeated]), set(chosen[repeated:])

    def _hold(self, submission: Submission, number: int, low: int, high: int) -> None:
        due = number + self._rng.randint(low, high)
        heapq.heappush(self._held, (due, next(self._serial), submission))

    def _released(self, number: int | None) -> Iterator[Submission]:
        while self._held and (number is None or self._held[0][0] <= number):
            yield heapq.heappop(self._held)[2]

    def _rematch_first(self, number: int) -> Submission:
        """A fight is held back; the players' next fight gets in before it."""
        late = self._submission(number, Kind.LATE)
        rematch = self._answered(self._submission(number + 1, Kind.REMATCH))
        late = replace(self._answered(late), after=rematch.session_id)
        self._hold(late, number + 1, 3, 30)
        return rematch

    def _submission(self, number: int, kind: Kind) -> Submission:
        milliseconds = self._start * 1000 + int(number * 1000 / self._rate)
        if kind is Kind.LATE:
            milliseconds -= HELD_BACK_SECONDS * 1000
        session_id = uuid7(milliseconds, self._rng)
        ended_at = milliseconds // 1000
        if kind is Kind.SHORTAGE:
            return self._shortage(session_id, ended_at)
        document, gains = self._fight(kind, session_id, ended_at)
        if kind is Kind.MALFORMED:
            return self._malformed(session_id, ended_at, document)
        if kind is Kind.UNKNOWN_LOOT:
            document = documents.unknown_loot(self._rng, document)
            submission = self._offer(kind, session_id, ended_at, document, {})
            return replace(submission, outcome=Outcome.FAILED, code="unknown_item")
        return self._offer(kind, session_id, ended_at, document, gains)

    def _fight(
        self, kind: Kind, session_id: str, ended_at: int
    ) -> tuple[Document, dict[int, Gain]]:
        rng = self._rng
        if kind is not Kind.REMATCH:
            size = rng.choice((1, 1, 2, 2, 2, 4, 6))
            self._last_fighters = rng.sample(self._fighters, size)
        fight = simulate(rng, self._teams(self._last_fighters))
        gains = documents.gains_of(rng, fight)
        return documents.compose(rng, session_id, ended_at, fight, gains), gains

    def _teams(self, fighters: list[Fighter]) -> list[Actor]:
        """One against monsters or his own shadow; more against monsters or halved."""
        rng = self._rng
        if len(fighters) == 1 and rng.random() < 0.3:
            return [player(rng, fighters[0], "red"), shadow(fighters[0], "blue")]
        if len(fighters) == 1 or rng.random() < 0.25:
            party = [player(rng, fighter, "red") for fighter in fighters]
            return [*party, *monsters(rng, len(party), "wild")]
        half = len(fighters) // 2
        return [player(rng, fighter, "red") for fighter in fighters[:half]] + [
            player(rng, fighter, "blue") for fighter in fighters[half:]
        ]

    def _shortage(self, session_id: str, ended_at: int) -> Submission:
        rng, turn = self._rng, next(self._met[Kind.SHORTAGE])
        victim = self._victims[turn % len(self._victims)]
        bare = replace(victim, belt=[], purse=0)
        fight = simulate(rng, [player(rng, bare, "red"), *monsters(rng, 2, "wild")])
        gain = documents.gains_of(rng, fight)[victim.id]
        claimed, due, shortage = fall_short(rng, victim, gain, turn)
        document = documents.compose(
            rng, session_id, ended_at, fight, {victim.id: claimed}
        )
        submission = self._offer(
            Kind.SHORTAGE, session_id, ended_at, document, {victim.id: due}
        )
        return replace(submission, shortages=[shortage])

    def _malformed(
        self, session_id: str, ended_at: int, document: Document
    ) -> Submission:
        fault = FAULTS[next(self._met[Kind.MALFORMED]) % len(FAULTS)]
        text = fault.apply(document)
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        return Submission(
            Kind.MALFORMED,
            Door.TASK,
            session_id,
            text,
            identity(document) if fault.has_row else sha256,
            ended_at,
            Outcome.FAILED if fault.has_row else Outcome.REJECTED,
            fault.code,
        )

    def _offer(
        self,
        kind: Kind,
        session_id: str,
        ended_at: int,
        document: Document,
        gains: dict[int, Gain],
    ) -> Submission:
        by_task = self._rng.random() < TASK_SHARE
        return Submission(
            kind,
            Door.TASK if by_task else Door.DISPATCHER,
            session_id,
            documents.respelt(self._rng, document) if by_task else document,
            identity(document),
            ended_at,
            Outcome.PROCESSED,
            gains=gains,
        )

    def _answered(self, submission: Submission) -> Submission:
        """By the door that says when it is accepted: something waits for that."""
        return replace(submission, door=Door.DISPATCHER, body=_document(submission))

    def _duplicate(self, first: Submission) -> Submission:
        """The same document by any door, spelt as another retry may spell it."""
        return replace(
            first,
            kind=Kind.DUPLICATE,
            door=self._rng.choice(list(Door)),
            body=documents.respelt(self._rng, _document(first)),
            outcome=Outcome.DUPLICATE,
            gains={},
        )

    def _conflict(self, first: Submission) -> Submission:
        forged = documents.conflicting(_document(first))
        return replace(
            first,
            kind=Kind.CONFLICT,
            door=self._rng.choice(list(Door)),
            body=forged,
            sha256=identity(forged),
            outcome=Outcome.CONFLICT,
            code="payload_conflict",
            gains={},
            after=first.session_id,
        )


def _document(submission: Submission) -> Document:
    body = submission.body
    document: Document = json.loads(body) if isinstance(body, str) else body
    return document


def _part(combats: int, percent: float) -> int:
    return math.ceil(combats * percent / 100)
