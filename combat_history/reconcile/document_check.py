"""Checks documents by their identity: what is stored is what was received."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection

from combat_history.models import Status
from combat_history.reconcile.report import EXAMPLES, Finding, Result
from persistence.contract.document import Document, digest, parse_as_spelt
from persistence.contract.errors import PayloadInvalid
from persistence.contract.fight_log import unpack
from persistence.contract.identity import former_identity, identity

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

PAGE = 500
"""Documents held in memory at once."""

DOCUMENTS = """
SELECT session_id, payload_sha256, settlement_status,
       CASE WHEN raw_payload IS NULL THEN result_payload::text END, raw_payload, data
FROM combat_history LEFT JOIN combat_replay USING (session_id)
WHERE payload_sha256 IS NOT NULL
  AND NOT EXISTS (SELECT FROM combat_redactions r
                  WHERE r.session_id = combat_history.session_id)
"""

WITHOUT_A_POINT = 10**16
"""From here on a float has an exponent, and jsonb makes a whole number of it."""


@dataclass(frozen=True, slots=True)
class DocumentCheck:
    """Computes what no statement can: the hash of a canonical form.

    A fight log may have been pruned of a combat that is over; without one, only a
    document that never had any can be told to be whole.
    """

    code: str
    says: str

    def run(self, cursor: CursorWrapper, parameters: Mapping[str, Any]) -> Result:
        count = 0
        findings: list[Finding] = []
        for session_id, detail in self._differing():
            count += 1
            if count <= EXAMPLES:
                ids: dict[str, int | str] = {"session_id": str(session_id)}
                findings.append(Finding(self.code, ids, detail))
        return Result(self.code, self.says, count, findings)

    @staticmethod
    def _differing() -> Iterator[tuple[UUID, str]]:
        # Of the same transaction, and so of the same snapshot, as the other checks.
        with connection.chunked_cursor() as cursor:
            cursor.execute(DOCUMENTS)
            while rows := cursor.fetchmany(PAGE):
                for session_id, *row in rows:
                    if detail := _difference(*row):
                        yield session_id, detail


def _difference(
    sha256: str, status: str, text: str | None, raw: bytes | None, packed: bytes | None
) -> str | None:
    source = text.encode() if text is not None else bytes(raw or b"")
    try:
        stored = parse_as_spelt(source)
        document = stored
        if packed is not None:
            document = {**stored, "replay_log": unpack(bytes(packed))}
        found = identity(document)
    except (ZstdError, ValueError) as error:
        return f"the fight log is not readable: {error}"
    except PayloadInvalid:
        # Nested too deeply to have a canonical form.
        return None
    is_over = status in (Status.PROCESSED, Status.VOIDED)
    may_be_pruned = raw is None and packed is None and is_over
    if may_be_pruned or sha256 == found or _is_of_before(sha256, document, raw):
        return None
    return f"payload_sha256 is {sha256}, the document has {found}"


def _is_of_before(sha256: str, document: Document, raw: bytes | None) -> bool:
    """Whether it may be what identified the document to older versions.

    Or to this one, of a document with a key that stands twice: that of its bytes.
    """
    if raw is not None and sha256 == digest(bytes(raw)):
        return True
    is_rewritten = raw is None and _is_rewritten(document)
    return is_rewritten or sha256 == former_identity(document)


def _is_rewritten(document: object) -> bool:
    """Whether jsonb may hold another spelling of the same number: 1e16, -0.0."""
    waiting = [document]
    while waiting:
        match waiting.pop():
            case float() as number:
                if number == 0:
                    return True
            case int() as number:
                if abs(number) >= WITHOUT_A_POINT:
                    return True
            case dict() as members:
                waiting += members.values()
            case list() as entries:
                waiting += entries
    return False


DOCUMENT_CHECKS = (
    DocumentCheck("document_differs", "every document is the one that was received"),
)
