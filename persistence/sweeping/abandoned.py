"""Makes the document of a forced save: what `cs:` knows, and not a coin more."""

from __future__ import annotations

from uuid import UUID

from persistence.contract import roster
from persistence.contract.document import Document
from persistence.contract.meta import FinishReason
from persistence.contract.roster import Fault, Session


def abandoned(
    session_id: UUID, session: Session, ended_at: int
) -> tuple[Document, list[Fault]]:
    """The document, and the faults that people are to see."""
    participants, faults = roster.participants(session)
    document: Document = {
        "session_id": str(session_id),
        "meta": {
            "end_timestamp": ended_at,
            "winner_team": None,
            "finish_reason": str(FinishReason.ABANDONED),
            "forced": True,
        },
        "participants": participants,
    }
    return document, faults
