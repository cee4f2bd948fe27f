"""What a sender knows: the fights it made up, and the answers it got."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from tests.support.documents import make_document, make_participant

POTION, PELT, FLASK = "chaos_potion", "chaos_pelt", "chaos_flask"
START_GOLD = 1000


@dataclass(frozen=True)
class Share:
    """What one fight did to one player. `missing` of the `drunk` were not there."""

    xp: int = 0
    gold: int = 0
    hp: int = 100
    energy: int = 50
    drunk: int = 0
    missing: int = 0
    loot: int = 0
    flasks: int = 0
    """Used from the belt, which only a story that says so has."""


@dataclass(frozen=True)
class Fight:
    """A fight as its sender knows it. `failure`: the code it has to end with."""

    session_id: UUID
    finished_at: int
    shares: dict[int, Share]
    failure: str | None = None

    @cached_property
    def document(self) -> dict[str, Any]:
        players = {str(c): _participant(c, s) for c, s in self.shares.items()}
        if self.failure == "unknown_item":
            first = next(iter(players.values()))
            first["changes"]["items_gained"] = [
                {"item_template_id": "chaos_nothing", "qty": 1}
            ]
        return make_document(
            players | {"goblin_1": {"is_winner": False}},
            session_id=self.session_id,
            end_timestamp=self.finished_at,
            replay_log=[{"turn": 1, "actor": "goblin_1", "action": "bite"}],
        )

    @property
    def order(self) -> tuple[int, str]:
        return self.finished_at, str(self.session_id)


@dataclass
class Journal:
    """Kept by the sender, outside the system. A fight is offered before it is sent."""

    potions: dict[int, int] = field(default_factory=dict)
    """Characters of this story, and what their one stack of potions opened with."""

    offered: dict[UUID, Fight] = field(default_factory=dict)
    accepted: set[UUID] = field(default_factory=set)
    conflicts: Counter[UUID] = field(default_factory=Counter)
    """Other documents that were answered with `conflict`."""

    accounts: dict[int, dict[str, str]] = field(default_factory=dict)
    """Account fields that belong to somebody else, and so must be as they were."""

    others: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Pieces of other templates by character: had, and moved by no fight."""

    standing: dict[UUID, Fight] = field(default_factory=dict)
    """What a fight is settled as, where that is not what was offered."""

    documents: dict[UUID, list[dict[str, Any]]] = field(default_factory=dict)
    """Other documents of a fight that may rightly have come first."""

    voided: set[UUID] = field(default_factory=set)
    undone: set[UUID] = field(default_factory=set)

    vitals: dict[int, tuple[int, int] | None] = field(default_factory=dict)
    """hp and energy that were saved last, whatever the fights say; None: not known."""

    has_forgotten: bool = False
    """Redis was emptied: what it would still remember may be gone."""

    unsure_conflicts: set[UUID] = field(default_factory=set)
    """Whose other documents need not all be kept: Redis may have forgotten one."""

    def offer(self, fight: Fight) -> Fight:
        self.offered[fight.session_id] = fight
        return fight

    def settled(self, session_id: UUID) -> Fight:
        return self.standing.get(session_id, self.offered[session_id])

    def status(self, session_id: UUID) -> str:
        """What has become of an accepted fight in the end."""
        if session_id in self.voided:
            return "voided"
        return "failed" if self.settled(session_id).failure else "processed"


def potion_row(character_id: int) -> int:
    return character_id * 10


def flask_row(character_id: int) -> int:
    return character_id * 10 + 1


def _participant(character_id: int, share: Share) -> dict[str, Any]:
    changes: dict[str, Any] = {"xp_gained": share.xp, "gold_gained": share.gold}
    used = [
        {"inventory_id": row, "item_template_id": template, "qty": qty}
        for row, template, qty in (
            (potion_row(character_id), POTION, share.drunk),
            (flask_row(character_id), FLASK, share.flasks),
        )
        if qty
    ]
    if used:
        changes["items_consumed"] = used
    changes["items_gained"] = (
        [{"item_template_id": PELT, "qty": share.loot}] if share.loot else []
    )
    return make_participant(
        hp=share.hp, energy=share.energy, ui_report={"damage_dealt": 10}, **changes
    )
