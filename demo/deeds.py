"""What adventurers do, step by step, and the answer that each step has to get.

A deed is data: written into the journal before the first of them is done, and read
back from there by those who foretell what must come of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from demo.bag import Operation
from demo.documents import Document, Gain
from demo.submission import gain_from_record


@dataclass(frozen=True)
class Rest:
    """hp, energy or place changed: written into the account, and asked to be saved.

    `at`: game time (ms). `is_heard`: whether the broker is there when it is asked.
    """

    character: int
    hp: int
    energy: int
    location: str
    state: str
    at: int
    dispatches: int = 1
    is_heard: bool = True

    title = "got hurt, healed, moved on"
    expected = "noted"


@dataclass(frozen=True)
class Switch:
    """`session`: of the mode that is opened, None where everything is closed."""

    character: int
    to: str
    session: str | None
    refused: str = ""
    is_heard: bool = True

    @property
    def title(self) -> str:
        return "bag opened in a fight: refused" if self.refused else "switched context"

    @property
    def expected(self) -> str:
        return self.refused or f"open: {self.session}"


@dataclass(frozen=True)
class Walk:
    """Progress of a journey; `is_saved`: the engine asks for it at once."""

    character: int
    session: str
    version: int
    progress: dict[str, str]
    is_saved: bool

    title = "travelled on"
    expected = "noted"


@dataclass(frozen=True)
class Handle:
    """Inventory operations, sent `times` times.

    `parked`: of those that must not be applied the code, and the operation that each
    is held up by. `refused`: nothing may be queued at all.
    """

    character: int
    operations: list[Operation]
    parked: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    refused: str = ""
    times: int = 1
    is_heard: bool = True

    @property
    def title(self) -> str:
        if self.refused:
            return f"operation refused at once: {self.refused}"
        return "handled the inventory"

    @property
    def expected(self) -> str:
        return self.refused or "queued"


@dataclass(frozen=True)
class Begin:
    """A fight of their own begins. `belts`: (character, inventory row, pieces)."""

    session: str
    characters: list[int]
    teams: dict[int, str]
    belts: list[tuple[int, int, int]]

    title = "began a fight with the belt"

    @property
    def expected(self) -> str:
        return f"belts {sorted(self.belts)}"


@dataclass(frozen=True)
class Drink:
    """Pieces of a belt row are used up; the fight's container says so."""

    session: str
    character: int
    row: int
    template: str
    qty: int

    title = "drank a potion of the belt"
    expected = "noted"


@dataclass(frozen=True)
class Finish:
    """The fight is over and handed over."""

    session: str
    ended_at: int
    gains: dict[int, Gain]
    document: Document = field(default_factory=dict)

    title = "handed their fight over"
    expected = "accepted"


@dataclass(frozen=True)
class Vanish:
    """The engine of the fight dies, once the clock has passed `after` (Unix seconds).

    `gains`: what a forced save may take and set.
    """

    session: str
    after: int
    gains: dict[int, Gain]

    title = "left a fight without a word"
    expected = "heard of before"


@dataclass(frozen=True)
class Press:
    """A button of a fight, old or not. `answer`: in the words of `told` in buttons."""

    character: int
    session: str
    button: str
    answer: str
    without_tombstone: bool = False

    @property
    def title(self) -> str:
        return f"button of {self.button}"

    @property
    def expected(self) -> str:
        return self.answer


Deed = Rest | Switch | Walk | Handle | Begin | Drink | Finish | Vanish | Press

_KINDS: dict[str, type[Deed]] = {
    kind.__name__: kind
    for kind in (Rest, Switch, Walk, Handle, Begin, Drink, Finish, Vanish, Press)
}


def to_record(deed: Deed) -> dict[str, Any]:
    """All of it for the journal, but the document of a fight."""
    record = {name: v for name, v in asdict(deed).items() if name != "document"}
    return {"deed": type(deed).__name__, **record}


def from_record(record: dict[str, Any]) -> Deed:
    fields = {k: v for k, v in record.items() if k not in ("event", "number", "deed")}
    if "gains" in fields:
        fields["gains"] = {
            int(char_id): gain_from_record(gain)
            for char_id, gain in fields["gains"].items()
        }
    if "belts" in fields:
        fields["belts"] = [tuple(entry) for entry in fields["belts"]]
    if "teams" in fields:
        fields["teams"] = {int(k): team for k, team in fields["teams"].items()}
    if "parked" in fields:
        fields["parked"] = {op: tuple(why) for op, why in fields["parked"].items()}
    return _KINDS[record["deed"]](**fields)
