"""A combat result as a JSON document: parsed, canonical, identified.

The SHA-256 of the canonical form of the document as received is its identity, whether
it came as a dict, as text or in another order of keys.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

from pydantic_core import from_json

from persistence.errors import FailureCode, PayloadInvalid

MAX_DOCUMENT_BYTES = 1024 * 1024

Document = dict[str, Any]
"""A combat result as parsed JSON, exactly as received."""


def parse_document(raw: bytes) -> Document:
    """Parse a document as received.

    Raises PayloadInvalid `invalid_payload` for what is no JSON and `not_an_object` for
    JSON that is no object.
    """
    try:
        document = from_json(raw)
    except ValueError:
        document = _parse_tolerantly(raw)
    if not isinstance(document, dict):
        raise PayloadInvalid.of(
            FailureCode.NOT_AN_OBJECT,
            "",
            f"expected a JSON object, got {type(document).__name__}",
        )
    return cast("Document", document)


def _parse_tolerantly(raw: bytes) -> object:
    """Lone surrogates and deep nesting: readable, so that the row can say why not."""
    try:
        return json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        reason = str(error) or "nested too deeply"
        raise PayloadInvalid.of(
            FailureCode.INVALID_PAYLOAD, "", f"not readable as JSON: {reason}"
        ) from error


# A circular document ends in RecursionError; looking for it costs a third of the time.
_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False
)


def canonical_json(document: Document) -> bytes:
    """Sorted keys, no spaces, UTF-8: the bytes whose SHA-256 identifies a document.

    Raises PayloadInvalid for a value JSON has no form for.
    """
    try:
        text = _canonical.encode(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadInvalid.of(
            FailureCode.INVALID_PAYLOAD, "", f"not writable as JSON: {error}"
        ) from error
    return text.encode("utf-8", "surrogatepass")


def digest(canonical: bytes) -> str:
    """SHA-256, hexadecimal, of `canonical_json`."""
    return hashlib.sha256(canonical).hexdigest()


def unstorable(text: bytes, document: Document) -> str | None:
    """Why jsonb would refuse this document, or None. `text` is its JSON."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "a string holds a lone surrogate"
    if b"\\u0000" in text and _holds_nul(document):
        return "a string holds the NUL character"
    if (b"NaN" in text or b"Infinity" in text) and _holds_non_finite(document):
        return "a number is NaN, infinite or too large for a float"
    return None


def _holds_nul(value: object) -> bool:
    match value:
        case str():
            return "\x00" in value
        case dict():
            return any(_holds_nul(k) or _holds_nul(v) for k, v in value.items())
        case list():
            return any(map(_holds_nul, value))
    return False


def _holds_non_finite(value: object) -> bool:
    match value:
        case float():
            return value != value or value in (float("inf"), float("-inf"))
        case dict():
            return any(map(_holds_non_finite, value.values()))
        case list():
            return any(map(_holds_non_finite, value))
    return False
