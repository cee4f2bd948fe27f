"""One fight as PostgreSQL holds it, for whoever asks for its outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from combat_history.models import (
    CombatHistory,
    Status,
    settled_amounts,
    standing_document,
)
from persistence.contract.document import Document, with_integers
from persistence.contract.outcome import Amounts, Moves, tombstone


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """The row of a fight, as answers need it. `moved`: by the settlement."""

    status: str
    participants: list[int]
    document: Document
    revision: int
    is_undone: bool
    moved: Moves

    def tombstone(self) -> bytes | None:
        """The tombstone of the fight; None where it is not processed."""
        if self.status != Status.PROCESSED:
            return None
        return tombstone(
            self.document, self.moved, self.revision, is_undone=self.is_undone
        )


def read(session_id: UUID) -> HistoryRow | None:
    """One query by primary key; once more where PostgreSQL had hung up meanwhile."""
    was_connected = connection.connection is not None
    try:
        return _select(session_id)
    except (OperationalError, InterfaceError):
        connection.close_if_unusable_or_obsolete()
        if not was_connected or connection.connection is not None:
            raise
        return _select(session_id)


def _select(session_id: UUID) -> HistoryRow | None:
    found = (
        CombatHistory.objects.filter(pk=session_id)
        .values_list(
            "settlement_status",
            "participant_ids",
            standing_document(),
            "revision",
            "compensated_at",
            settled_amounts(),
        )
        .first()
    )
    if found is None:
        return None
    status, participants, document, revision, compensated_at, moved = found
    if isinstance(document, dict):  # somebody may have written the row by hand
        with_integers(document)
    is_undone = compensated_at is not None
    return HistoryRow(
        status, participants, document, revision, is_undone, moves_of(moved)
    )


def moves_of(moved: Iterable[Mapping[str, Any]] | None) -> Moves:
    """`settled_amounts` of a row, by player."""
    return {
        str(line["character_id"]): Amounts(gold=line["gold"], balances=line["balances"])
        for line in moved or ()
    }
