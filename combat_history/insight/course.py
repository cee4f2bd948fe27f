"""How a player's balances went: what stood after each of the latest ledger lines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from combat_history.models import LedgerLine

MAX_LINES = 200
"""Latest lines of a player that a course is drawn of."""

MAX_NAMED = 4
"""Named balances that are drawn, those that moved most often."""

GOLD, XP = "\0gold", "\0xp"
"""No id of a named balance."""


@dataclass(frozen=True, slots=True)
class Step:
    """`after`: what stood then, of the balances that the line tells of."""

    at: datetime
    is_fight: bool
    after: dict[str, int]


@dataclass(frozen=True, slots=True)
class Course:
    """Oldest first. `named`: ids of the named balances that are drawn."""

    steps: list[Step]
    named: list[str]

    def of(self, balance: str) -> list[tuple[Step, int]]:
        return [
            (step, step.after[balance]) for step in self.steps if balance in step.after
        ]


def course(char_id: int) -> Course:
    """One query, by the index of a player's lines."""
    lines = LedgerLine.objects.filter(character_id=char_id).order_by("-pk")
    told = lines.values_list(
        "recorded_at", "kind", "gold_after", "xp_after", "balances"
    )
    steps = [
        Step(
            at,
            kind == LedgerLine.Kind.SETTLEMENT,
            {**_named(balances), GOLD: gold, XP: xp},
        )
        for at, kind, gold, xp, balances in told[:MAX_LINES]
    ]
    moved = [id_ for step in steps for id_ in step.after if id_ not in (GOLD, XP)]
    often = sorted(set(moved), key=lambda id_: (-moved.count(id_), id_))
    return Course(steps[::-1], often[:MAX_NAMED])


def _named(balances: object) -> dict[str, int]:
    moved = balances.items() if isinstance(balances, dict) else ()
    return {id_: told["after"] for id_, told in moved if "after" in told}
