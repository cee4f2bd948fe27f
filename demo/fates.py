"""What must come of all deeds: sums over the journal, in the order of each player.

Independent of the system: it reads what adventurers owned and did, never a row that a
Saver wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from demo.bag import Bag
from demo.deeds import (
    Deed,
    Finish,
    Handle,
    Rest,
    Switch,
    Vanish,
    Walk,
)
from demo.documents import Gain


@dataclass
class Fate:
    """All that a character is and owns. `vitals_at` in ms."""

    xp: int
    gold: int
    hp: int
    energy: int
    location: str
    state: str
    vitals_at: int
    bag: Bag

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Fate:
        fields = {k: v for k, v in record.items() if k not in ("event", "character")}
        return cls(**{**fields, "bag": Bag.from_records(fields["bag"])})

    def record(self) -> dict[str, Any]:
        return {**vars(self), "bag": self.bag.records()}

    def settle(self, gain: Gain, ended_at: int) -> None:
        self.xp += gain.xp
        self.gold += gain.gold
        self.bag.settle(gain)
        if ended_at >= self.vitals_at:
            self.hp, self.energy, self.vitals_at = gain.hp, gain.energy, ended_at


@dataclass
class Journey:
    character: int
    version: int
    progress: dict[str, str]
    is_closed: bool = False


@dataclass
class Fates:
    """`applied` and `parked` by (character, op_id); a parked one has its code, and
    what holds it up. `fights`: players by session; `forced` among them."""

    characters: dict[int, Fate]
    journeys: dict[str, Journey] = field(default_factory=dict)
    applied: set[tuple[int, str]] = field(default_factory=set)
    parked: dict[tuple[int, str], tuple[str, str | None]] = field(default_factory=dict)
    fights: dict[str, list[int]] = field(default_factory=dict)
    forced: set[str] = field(default_factory=set)


def foretell(opening: dict[int, Fate], deeds: Iterable[Deed]) -> Fates:
    fates = Fates(deepcopy(opening))
    opened: dict[int, str] = {}
    for deed in deeds:
        match deed:
            case Rest():
                _rest(fates.characters[deed.character], deed)
            case Switch(refused=""):
                _leave(fates, opened.pop(deed.character, None))
                if deed.to == "scenario" and deed.session is not None:
                    opened[deed.character] = deed.session
            case Walk():
                _walk(fates, deed)
            case Handle(refused=""):
                _handle(fates, deed)
            case Finish() | Vanish():
                _end(fates, deed)
    return fates


def _rest(fate: Fate, rest: Rest) -> None:
    if rest.at < fate.vitals_at:
        return
    fate.hp, fate.energy, fate.vitals_at = rest.hp, rest.energy, rest.at
    fate.location, fate.state = rest.location, rest.state


def _walk(fates: Fates, walk: Walk) -> None:
    """What is not said anew is still so."""
    before = fates.journeys.get(walk.session)
    progress = {**(before.progress if before else {}), **walk.progress}
    fates.journeys[walk.session] = Journey(walk.character, walk.version, progress)


def _leave(fates: Fates, session: str | None) -> None:
    if session is not None:
        fates.journeys[session].is_closed = True


def _handle(fates: Fates, handle: Handle) -> None:
    for operation in handle.operations:
        name = handle.character, operation["op_id"]
        if operation["op_id"] in handle.parked:
            fates.parked[name] = handle.parked[operation["op_id"]]
        else:
            fates.applied.add(name)
            fates.characters[handle.character].bag.apply(operation)


def _end(fates: Fates, fight: Finish | Vanish) -> None:
    fates.fights[fight.session] = sorted(fight.gains)
    if isinstance(fight, Vanish):
        fates.forced.add(fight.session)
        ended_at = fight.after * 1000
    else:
        ended_at = fight.ended_at * 1000
    for char_id, gain in fight.gains.items():
        fates.characters[char_id].settle(gain, ended_at)
