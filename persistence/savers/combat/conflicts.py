"""Finds conflicts: bodies of a delivery that are not the document that stands.

Hashes that differ are looked at twice: rows, entries and engines of versions before
this one have a document's former hash, which told spellings of equal values apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING
from uuid import UUID

from persistence.contract.document import Document, digest, parse_document
from persistence.contract.errors import PayloadInvalid
from persistence.contract.fight_log import unpack
from persistence.contract.identity import former_identity, identity
from persistence.protocols import Delivery
from persistence.savers.combat import statements
from persistence.savers.combat.cases import conflict
from persistence.worker import sql
from persistence.worker.rejected import Rejected

if TYPE_CHECKING:
    from psycopg import Cursor

_SHA256 = re.compile("[0-9a-f]{64}")


def beside_first(delivery: Delivery) -> list[Rejected]:
    """Conflicts of a session without a row: all but the delivered document."""
    different = _different(_bodies(delivery), delivery.sha256)
    if not different:
        return []
    own = {delivery.sha256, *_identities(delivery.raw)}
    return list(_conflicts(delivery.session_id, different, own))


def beside_row(
    cursor: Cursor[sql.Row], delivery: Delivery, sha256: str
) -> list[Rejected]:
    """Conflicts of a session with a row of that hash: all but the row's document."""
    bodies = _bodies(delivery)
    if delivery.raw is not None:
        bodies[delivery.sha256] = delivery.raw
    different = _different(bodies, sha256)
    if not different:
        return []
    own: set[str | None] = {sha256, *_received(cursor, delivery.session_id)}
    return list(_conflicts(delivery.session_id, different, own))


def _bodies(delivery: Delivery) -> dict[str | None, bytes]:
    """Whatever else was sent, by its SHA-256; without one, by that of its bytes."""
    bodies: dict[str | None, bytes] = {}
    for name, raw in delivery.conflicts.items():
        sha256 = name.partition(":")[0]
        bodies[sha256 if _SHA256.fullmatch(sha256) else digest(raw)] = raw
    return bodies


def _different(
    bodies: Mapping[str | None, bytes], sha256: str | None
) -> dict[str | None, bytes]:
    return {other: raw for other, raw in bodies.items() if other != sha256}


def _conflicts(
    session_id: UUID, bodies: Mapping[str | None, bytes], own: Set[str | None]
) -> Iterator[Rejected]:
    for sha256, raw in bodies.items():
        if sha256 not in own and own.isdisjoint(_identities(raw)):
            yield conflict(session_id, sha256, raw)


def _received(cursor: Cursor[sql.Row], session_id: UUID) -> set[str | None]:
    """The identity of the whole document of a row, as far as it is not pruned.

    And of the one that stands in its place, where that was corrected or is signed.
    """
    rows = sql.fetch(cursor, statements.LOAD_RECEIVED, [session_id])
    ((text, raw, packed, standing),) = rows
    if raw is not None or packed is None:
        return {standing, *_identities(raw if raw is not None else text.encode())}
    document = parse_document(text.encode())
    return {standing, *_names({**document, "replay_log": unpack(packed)})}


def _identities(raw: bytes | None) -> set[str]:
    try:
        return _names(parse_document(raw)) if raw is not None else set()
    except PayloadInvalid:
        return set()


def _names(document: Document) -> set[str]:
    try:
        return {identity(document), former_identity(document)}
    except PayloadInvalid:
        return set()
