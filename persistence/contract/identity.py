"""The identity of a document: equal JSON values have one SHA-256.

It is taken of the RFC 8785 form (JSON Canonicalization Scheme) of a document, after
the session id is in canonical form and an accepted alias has its one name. One thing
differs from that RFC: integers are exact, also beyond 2^53, and so is every number
without a fraction, which is written in full: 10, 10.0 and 1e1 are 10.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any
from uuid import UUID

from persistence.contract.document import (
    Document,
    canonical_json,
    digest,
    holds_floats,
)
from persistence.contract.ids import parse_session_id

_ALIAS, _NAME = "inv_id", "inventory_id"


def identity(document: Document, canonical: bytes | None = None) -> str:
    """SHA-256 that names the document. `canonical`: its canonical JSON, where known.

    Raises PayloadInvalid for a value JSON has no form for.
    """
    return digest(identified(document, canonical))


def identified(
    document: Document,
    canonical: bytes | None = None,
    session_id: UUID | None = None,
    *,
    is_plain: bool = False,
) -> bytes:
    """The bytes whose SHA-256 is the identity; nearly always the canonical JSON.

    `session_id`: the document's own, where it has been read already. `is_plain`: it is
    known to hold no float.
    """
    text = canonical_json(document) if canonical is None else canonical
    spelt = _in_one_spelling(document, text, session_id)
    if spelt is not document:
        text = canonical_json(spelt, is_plain=is_plain)
    if _may_sort_otherwise(text):
        text = _by_code_units(text)
    has_floats = not is_plain and holds_floats(text)
    return _NUMBERS.sub(_number, text) if has_floats else text


def former_identity(document: Document) -> str:
    """The identity that older releases gave a document, in rows and in Redis."""
    return digest(canonical_json(document))


def _in_one_spelling(
    document: Document, text: bytes, session_id: UUID | None
) -> Document:
    given = document.get("session_id")
    spelt = _spelt(given) if session_id is None else str(session_id)
    if spelt != given:
        document = {**document, "session_id": spelt}
    participants = document.get("participants")
    # By the text: nearly every document is done without a walk through it.
    if b'"inv_id":' in text and isinstance(participants, dict):
        named = {key: _named(entry) for key, entry in participants.items()}
        document = {**document, "participants": named}
    return document


def _spelt(session_id: Any) -> Any:
    try:
        return str(parse_session_id(session_id))
    except ValueError:
        return session_id


def _named(participant: Any) -> Any:
    """A participant whose consumed rows are named by `inventory_id`."""
    changes = participant.get("changes") if isinstance(participant, dict) else None
    if not isinstance(changes, dict):
        return participant
    consumed = changes.get("items_consumed")
    if not isinstance(consumed, list):
        return participant
    renamed = [_renamed(entry) for entry in consumed]
    return {**participant, "changes": {**changes, "items_consumed": renamed}}


def _renamed(entry: Any) -> Any:
    if not isinstance(entry, dict) or _ALIAS not in entry or _NAME in entry:
        return entry
    return {_NAME if key == _ALIAS else key: value for key, value in entry.items()}


_NUMBERS = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9]+(?:\.[0-9]+(?:e[-+][0-9]+)?|e[-+][0-9]+)',
    re.DOTALL,
)
"""Strings, which are left alone, and floats as Python writes them."""

_SMALLEST_WITHOUT_EXPONENT = Decimal("1e-6")


def _number(found: re.Match[bytes]) -> bytes:
    token = found[0]
    if token.startswith(b'"'):
        return token
    value = Decimal(token.decode())
    if value == value.to_integral_value():
        return str(int(value)).encode()
    if abs(value) >= _SMALLEST_WITHOUT_EXPONENT:
        return format(value, "f").encode()
    # The digits are the shortest already; the exponent is written without a zero.
    digits, _, exponent = token.partition(b"e")
    return digits + b"e%d" % int(exponent)


_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_ASTRAL_LEADS = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
_LAST_OF_THE_PLANE_LEADS = (b"\xee", b"\xef")


def _may_sort_otherwise(text: bytes) -> bool:
    """UTF-16 has characters beyond the first plane before the last ones of it."""
    # The last ones first: they are the rarest.
    return any(lead in text for lead in _LAST_OF_THE_PLANE_LEADS) and any(
        lead in text for lead in _ASTRAL_LEADS
    )


def _by_code_units(text: bytes) -> bytes:
    """With keys sorted by UTF-16 code units, by making characters of these."""
    halves = _ASTRAL.sub(_surrogates, text.decode("utf-8", "surrogatepass"))
    split = canonical_json(json.loads(halves)).decode("utf-8", "surrogatepass")
    joined = split.encode("utf-16-le", "surrogatepass").decode(
        "utf-16-le", "surrogatepass"
    )
    return joined.encode("utf-8", "surrogatepass")


def _surrogates(found: re.Match[str]) -> str:
    high, low = divmod(ord(found[0]) - 0x10000, 0x400)
    return chr(0xD800 + high) + chr(0xDC00 + low)
