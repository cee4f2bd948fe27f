"""Characters with adventures of their own, and what they take into a fight."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from demo.bag import Bag, Row
from demo.world import BeltRow, Fighter, Gear

WORN = ("main_hand", "body")
"""Slots of the gear that everybody starts with, and that fights wear out."""


@dataclass
class Adventurer:
    """A character with everything that its stories may change.

    `suspected`: rows that operations name which earlier runs left parked; another one
    would wait for those.
    """

    fighter: Fighter
    bag: Bag
    suspected: set[int] = field(default_factory=set)

    @property
    def id(self) -> int:
        return self.fighter.id

    def as_fighter(self) -> Fighter:
        """With the belt and the gear of this moment."""
        return replace(
            self.fighter,
            belt=[BeltRow(_id(r), r.template, r.qty) for r in self.bag.belt()],
            gear=[Gear(_id(r), r.template) for r in self.bag.rows if r.slot in WORN],
        )

    def free_slots(self) -> list[str]:
        """Two at least. A killed run may have left something in the others."""
        taken = {row.slot for row in self.bag.rows}
        names = (f"hook_{n}" for n in range(len(taken) + 2))
        return [name for name in names if name not in taken]


def _id(row: Row) -> int:
    """Belt and gear are as old as their owner: PostgreSQL has told their ids."""
    assert row.id is not None
    return row.id
