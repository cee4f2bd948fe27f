"""Fights that ask for more than there is, with an outcome that is certain.

What a shortage takes would depend on the order in which combats settle. It does not
here, because the victims fight in no other fights of the run: what they own when it
happens is what they own now.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from demo.documents import Gain
from demo.world import Fighter

GONE_ROWS = range(900_000_000, 999_000_000)
"""Inventory ids that nobody ever hands out."""


@dataclass(frozen=True)
class Shortage:
    """The discrepancy line that the system has to write."""

    code: str
    character: int
    inventory: int | None
    wanted: int
    applied: int


def fall_short(
    rng: Random, victim: Fighter, gain: Gain, turn: int
) -> tuple[Gain, Gain, Shortage]:
    """What the engine claims, what is really due, and the line about the difference.

    `turn` takes the kinds in rotation. The victim is left with what remains.
    """
    gain = replace(gain, gold=0, used=[])
    if turn % 3 == 0 and victim.purse > 0:
        return _penalty_above_purse(rng, victim, gain)
    if turn % 3 == 1 and victim.belt and victim.belt[0].left > 0:
        return _more_than_the_row_holds(rng, victim, gain)
    row, qty = rng.choice(GONE_ROWS), rng.randrange(1, 4)
    claimed = replace(gain, used=[(row, "hp_pot_small", qty)])
    return claimed, gain, Shortage("item_gone", victim.id, row, qty, 0)


def _penalty_above_purse(
    rng: Random, victim: Fighter, gain: Gain
) -> tuple[Gain, Gain, Shortage]:
    held, wanted = victim.purse, victim.purse + rng.randrange(1, 500)
    victim.purse = 0
    return (
        replace(gain, gold=-wanted),
        replace(gain, gold=-held),
        Shortage("gold_shortage", victim.id, None, wanted, held),
    )


def _more_than_the_row_holds(
    rng: Random, victim: Fighter, gain: Gain
) -> tuple[Gain, Gain, Shortage]:
    row = victim.belt[0]
    held, wanted = row.left, row.left + rng.randrange(1, 4)
    row.left = 0
    return (
        replace(gain, used=[(row.id, row.template, wanted)]),
        replace(gain, used=[(row.id, row.template, held)]),
        Shortage("item_shortage", victim.id, row.id, wanted, held),
    )
