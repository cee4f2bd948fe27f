"""What the engine hands over, together with what has to come of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from demo.documents import Document, Gain
from demo.shortages import Shortage


class Kind(StrEnum):
    FIGHT = "fight"
    LATE = "late"
    """Held back until a newer fight of the same players is in."""
    REMATCH = "rematch"
    """That newer fight."""
    UNKNOWN_LOOT = "unknown loot"
    SHORTAGE = "shortage"
    MALFORMED = "malformed"
    DUPLICATE = "duplicate"
    """Another delivery of a fight, not a fight of its own."""
    CONFLICT = "conflict"
    """Another document for a fight that is accepted already."""


class Door(StrEnum):
    DISPATCHER = "dispatcher"
    TASK = "send_task"


class Outcome(StrEnum):
    PROCESSED = "processed"
    FAILED = "failed"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Submission:
    """One delivery of one document.

    `after`: a session to be accepted before this one is sent. `gains` and
    `shortages` only where the fight is to be processed.
    """

    kind: Kind
    door: Door
    session_id: str
    body: Document | str
    sha256: str
    ended_at: int
    outcome: Outcome
    code: str = ""
    gains: dict[int, Gain] = field(default_factory=dict)
    shortages: list[Shortage] = field(default_factory=list)
    after: str | None = None

    @property
    def is_combat(self) -> bool:
        """False for further deliveries: they must change nothing."""
        return self.outcome not in (Outcome.DUPLICATE, Outcome.CONFLICT)

    def record(self) -> dict[str, Any]:
        """All of it for the journal, the document as its hash."""
        record = {k: v for k, v in asdict(self).items() if k != "body"}
        return {"event": "submission", **record}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Submission:
        fields = {k: v for k, v in record.items() if k != "event"}
        fields["kind"] = Kind(fields["kind"])
        fields["door"] = Door(fields["door"])
        fields["outcome"] = Outcome(fields["outcome"])
        fields["gains"] = {
            int(char_id): gain_from_record(gain)
            for char_id, gain in fields["gains"].items()
        }
        fields["shortages"] = [Shortage(**s) for s in fields["shortages"]]
        return cls(body="", **fields)


def gain_from_record(record: dict[str, Any]) -> Gain:
    worn = {int(row): points for row, points in record["worn"].items()}
    used = [tuple(entry) for entry in record["used"]]
    return Gain(**{**record, "worn": worn, "used": used})
