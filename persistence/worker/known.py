"""Documents that this process has read at its door and is likely to settle next.

Reading one and checking it against the contract would be done twice otherwise.
"""

from __future__ import annotations

from persistence.contract.payload import Read
from persistence.engine.handoff import Handoff

MAX_DOCUMENTS = 200
MAX_BYTES = 64 * 1024
"""Of one document: what is larger is rare, and as objects many times its size."""

_known: dict[bytes, Read] = {}


def keep(handoff: Handoff) -> None:
    """Remember how a document that was handed over reads; the oldest one makes room."""
    if handoff.read is None or len(handoff.raw) > MAX_BYTES:
        return
    _known[handoff.raw] = handoff.read
    if len(_known) > MAX_DOCUMENTS:
        del _known[next(iter(_known))]


def take(raw: bytes | None) -> Read | None:
    """Return how these very bytes read, and forget it; None where nobody knows."""
    return None if raw is None else _known.pop(raw, None)
