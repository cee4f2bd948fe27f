"""What came in with a batch, sorted by the state that each session is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from persistence.contract.errors import FailureCode
from persistence.contract.outcome import tombstone
from persistence.protocols import Delivery, Outcome, Verdict
from persistence.savers.combat.cases import Case, read_row
from persistence.savers.combat.signed import is_unsigned
from persistence.worker.rejected import Rejected

PENDING, PROCESSED, FAILED = "pending", "processed", "failed"


class Intake:
    """The deliveries of a batch, sorted by the state that their sessions are in."""

    def __init__(self) -> None:
        self.fresh: list[Case] = []
        self.waiting: list[Case] = []
        self.rejected: list[Rejected] = []
        self.verdicts: list[Verdict] = []

    def cases(self) -> list[Case]:
        return [*self.fresh, *self.waiting]

    def add_new(self, delivery: Delivery, case: Case | Rejected) -> None:
        if isinstance(case, Case):
            case.roster = delivery.roster
            self.fresh.append(case)
            return
        self.rejected.append(case)
        detail = "; ".join(error["message"] for error in case.errors)
        self.verdicts.append(
            Verdict(delivery.session_id, Outcome.REJECTED, case.code, detail)
        )

    def add_known(
        self,
        delivery: Delivery,
        row: Sequence[Any],
        sha256: str,
        others: list[Rejected],
    ) -> None:
        """`others`: bodies of the delivery that are not the document of the row."""
        self.rejected += others
        if delivery.raw is not None and not others:
            # Of the same document; Redis is to know it by the hash of now.
            sha256 = delivery.sha256 or sha256
        if row[1] == PENDING:
            case = read_row(row)
            case.sha256, case.roster = sha256, delivery.roster
            self.waiting.append(case)
        else:
            self.verdicts.append(_terminal(row, sha256, conflicting=bool(others)))


def _terminal(row: Sequence[Any], sha256: str, *, conflicting: bool) -> Verdict:
    session_id, status = row[0], row[1]
    code = FailureCode.PAYLOAD_CONFLICT if conflicting else ""
    if is_unsigned(row):
        # Redis is to forget it, so that the signed one is the first again.
        code = FailureCode.BAD_SIGNATURE
    return Verdict(
        session_id,
        Outcome.CONFLICT if conflicting else Outcome.DUPLICATE,
        code=str(code),
        detail=f"already {status}",
        # Once more: whoever settled it may have died before its effects.
        tombstone=_tombstone(row) if status == PROCESSED else None,
        sha256=sha256,
    )


def _tombstone(row: Sequence[Any]) -> bytes | None:
    revision, text, undone_at, moved = row[4], row[5], row[7], row[8]
    document = from_json(text)
    return tombstone(document, moved or {}, revision, is_undone=undone_at is not None)
