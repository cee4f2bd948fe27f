"""A player's part of a fight, from its document or from what Redis tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from combat_history.models import Status
from persistence.contract.errors import PayloadInvalid
from persistence.contract.meta import FinishReason
from persistence.contract.outcome import NOTHING_MOVED, Moves, tombstone
from persistence.contract.payload import validate


@dataclass(frozen=True, slots=True)
class Loot:
    name: str
    qty: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a fight as it concerns one player."""

    winner_team: str | None
    finish_reason: str
    end_timestamp: int
    is_winner: bool
    team: str | None
    xp: int
    gold: int
    loot: tuple[Loot, ...]
    balances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    is_winner: bool
    team: str | None
    xp: int
    gold: int
    loot: tuple[Loot, ...]
    balances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of `persistence.contract.outcome`; its revision is for Redis."""

    winner_team: str | None
    finish_reason: str
    end_timestamp: int
    participants: dict[str, Part]

    def part_of(self, char_id: int) -> Outcome | None:
        """The player's part; None for who did not take part."""
        mine = self.participants.get(str(char_id))
        if mine is None:
            return None
        return Outcome(
            self.winner_team,
            self.finish_reason,
            self.end_timestamp,
            mine.is_winner,
            mine.team,
            mine.xp,
            mine.gold,
            mine.loot,
            mine.balances,
        )


_SUMMARY = TypeAdapter(Summary)

DRAWN = frozenset({"draw", "tie", "ничья"})
NOBODY = frozenset({"", "-", "none", "null", "nobody", "никто", "нет"}) | DRAWN
"""What engines write in a winner's place where there is none."""


def winner_of(team: object) -> str | None:
    """The team that won; None where what stands there names none."""
    if not isinstance(team, str) or team.strip().casefold() in NOBODY:
        return None
    return team


def is_drawn(outcome: Outcome) -> bool:
    """Whether nobody won: by the reason, or by what stands in the winner's place."""
    word = (outcome.winner_team or "").strip().casefold()
    is_said = outcome.finish_reason == FinishReason.DRAW
    return is_said or (word in DRAWN and not outcome.is_winner)


def read_summary(text: bytes) -> Summary | None:
    """The summary; None for whatever is none: anybody may have written there."""
    try:
        return _SUMMARY.validate_json(text, strict=True)
    except ValidationError:
        return None


def outcome_of(
    document: object,
    char_id: int,
    status: str,
    moved: Moves = NOTHING_MOVED,
) -> Outcome | None:
    """A player's part of a document; None where the document breaks the contract.

    `moved`: by the settlement, where there was one.
    """
    if not isinstance(document, dict):  # somebody wrote the row by hand
        return None
    # A processed one was sound when it was settled, whatever the contract says by now.
    if status != Status.PROCESSED:
        try:
            validate(document)
        except PayloadInvalid:
            return None
    told = tombstone(document, moved, 1, is_undone=False)
    fight = None if told is None else read_summary(told)
    return None if fight is None else fight.part_of(char_id)
