"""A combat result as a JSON document: read and written within one bound of depth.

Whatever form a document comes in, it becomes JSON text and is parsed from that, so that
nothing behind this module meets a value without a JSON form, or nesting that recursion
does not survive.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import Any, cast
from uuid import UUID

import orjson
from pydantic_core import from_json

from persistence.contract.errors import FailureCode, PayloadInvalid

MAX_DOCUMENT_BYTES = 1024 * 1024

MAX_DEPTH = 200
"""Objects and arrays inside one another within a document: the parser's own bound."""

MAX_REPEATED = 20
"""Repeated keys that are told of one document."""

MAX_PIECES = 2_000_000
"""How many values `readable` walks: what Python holds may contain itself."""

Document = dict[str, Any]
"""A combat result as parsed JSON, exactly as received."""


def parse_document(raw: bytes) -> Document:
    """Parse a document. Of a key that stands twice the last value stays.

    Where the contract wants an integer, 5.0 and 5e0 are 5, as they are to JSON Schema
    and to whoever compares two documents. Raises PayloadInvalid `invalid_payload` for
    what is no JSON or nested too deeply, `not_an_object` for JSON that is no object.
    """
    document = parse_as_spelt(raw)
    return with_integers(document) if holds_floats(raw) else document


def parse_as_spelt(raw: bytes) -> Document:
    """Like `parse_document`; every number stays of the kind that it is written as."""
    try:
        document = from_json(raw)
    except ValueError:
        document = _parse_tolerantly(raw)
    if not isinstance(document, dict):
        raise PayloadInvalid.single(
            FailureCode.NOT_AN_OBJECT,
            "",
            f"expected a JSON object, got {type(document).__name__}",
        )
    return cast("Document", document)


# A number stands after one of the first three; without digits, minus signs and spaces
# the point or the exponent of one follows at once, as NaN and Infinity do. All are made
# one pair of bytes: looking for each costs as much as making it.
_STARTS = bytes.maketrans(b":,[.eENI", b":::eeeee")
_DIGITS = b"0123456789- \t\r\n"


def holds_floats(text: bytes) -> bool:
    """Never False where there is one, or NaN; seldom True for what a string holds."""
    return b":e" in text.translate(_STARTS, _DIGITS)


def with_integers(document: Document) -> Document:
    """Make integers, in place, of whole numbers where the contract wants integers."""
    meta, participants = document.get("meta"), document.get("participants")
    _whole_in(meta, ("end_timestamp",))
    for entry in participants.values() if isinstance(participants, dict) else ():
        _whole_in(entry, ("changes", "state_snapshot"))
        if isinstance(entry, dict):
            _whole_in(entry.get("ui_report"), ("loot_obtained",))
    return document


def _whole_in(value: Any, keys: tuple[str, ...]) -> None:
    for key in keys:
        if isinstance(value, dict) and key in value:
            value[key] = whole(value[key])


def whole(value: Any) -> Any:
    """With integers for whole numbers. Recursive: the parser has bounded the depth."""
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    # Beyond that an integer would have digits that nobody wrote.
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole else value


def _parse_tolerantly(raw: bytes) -> object:
    """Lone surrogates are readable, so that the row can say why not."""
    if _is_too_deep(raw):
        raise too_deep()
    try:
        return json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise PayloadInvalid.single(
            FailureCode.INVALID_PAYLOAD, "", f"not readable as JSON: {error}"
        ) from error


def too_deep() -> PayloadInvalid:
    return PayloadInvalid.single(
        FailureCode.INVALID_PAYLOAD,
        "",
        f"it is nested too deeply: at most {MAX_DEPTH} objects and arrays "
        "inside one another",
    )


_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")


def _is_too_deep(raw: bytes) -> bool:
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return False
    outside = b"".join(_ESCAPED.sub(b"", raw).split(b'"')[::2])
    depth = -1  # the document is inside of nothing
    for code in outside.translate(None, _NO_BRACKETS):
        depth += 1 if code in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _json_form(value: object) -> object:
    """The JSON form of what Celery's serializer brings as objects of Python."""
    match value:
        case UUID():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return int(value) if _is_whole(value) else float(value)
        case bytes():
            return value.decode()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _is_whole(value: Decimal) -> bool:
    # Beyond the largest float the digits of an exponent would fill the memory.
    is_number = value.is_finite() and value.adjusted() <= sys.float_info.max_10_exp
    return is_number and value == value.to_integral_value()


# A circular document ends in RecursionError; looking for it costs a third of the time.
_as_given = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, check_circular=False, default=_json_form
)
_as_given_sorted = json.JSONEncoder(
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=False,
    check_circular=False,
    default=_json_form,
)
_sorted = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False
)
_finite = json.JSONEncoder(check_circular=False, allow_nan=False)


def write_document(given: dict[Any, Any]) -> bytes:
    """The JSON text of a dict that was made in Python.

    It is canonical where the dict is JSON already. Raises PayloadInvalid for a value or
    a key JSON has no form for, and for nesting beyond what the interpreter lets its own
    writer do.
    """
    try:
        # Sorted at once: what is JSON already need not be written twice.
        return _written(_as_given_sorted, given)
    except PayloadInvalid:
        # Keys of several types have no order.
        return _written(_as_given, given)


_SORTED_AS_GIVEN = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def write_plainly(given: dict[Any, Any]) -> bytes | None:
    """`write_document` for a fifth of its cost, of what is strings and integers.

    None where it may be more than that; whether it is JSON is for the caller to see.
    """
    try:
        text = orjson.dumps(given, option=_SORTED_AS_GIVEN)
    except TypeError:
        return None
    return None if holds_floats(text) else text


def canonical_json(document: Document, *, is_plain: bool = False) -> bytes:
    """Parsed JSON with sorted keys, without spaces, in UTF-8.

    `is_plain`: it holds no float; that is written the same by a faster writer. Raises
    PayloadInvalid for a value JSON has no form for.
    """
    if is_plain:
        try:
            return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
        except TypeError:
            # A lone surrogate, or an integer beyond 64 bits.
            pass
    return _written(_sorted, document)


def _written(encoder: json.JSONEncoder, document: dict[Any, Any]) -> bytes:
    try:
        text = encoder.encode(document)
    except RecursionError as error:
        raise too_deep() from error
    except (TypeError, ValueError, OverflowError) as error:
        raise PayloadInvalid.single(
            FailureCode.INVALID_PAYLOAD, "", f"not writable as JSON: {error}"
        ) from error
    # A lone surrogate passes: `unstorable` names it, where a row can say so.
    return text.encode("utf-8", "surrogatepass")


def digest(text: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(text).hexdigest()


class _Members(list[tuple[str, Any]]):
    """An object with each of its members, as the text has them."""


def repeated_keys(raw: bytes, written: bytes) -> list[str]:
    """Paths of keys that stand twice in their object; `written`: the parsed document.

    No string is dropped where both texts have as many quotation marks, as long as none
    is written as a number: only other texts are read once more.
    """
    # A single byte is found several times faster than more of them.
    has_escapes = b"\\" in raw
    if not (has_escapes and b"\\u0022" in raw) and raw.count(b'"') == written.count(
        b'"'
    ):
        return []
    text = raw.decode("utf-8", "surrogatepass")
    # Numbers as text: one of some thousand digits is not to be read for this.
    members = json.loads(
        text, object_pairs_hook=_Members, parse_int=str, parse_float=str
    )
    return list(islice(_repeated(members), MAX_REPEATED))


def _repeated(document: object) -> Iterator[str]:
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        members: list[tuple[Any, Any]] = []
        if isinstance(value, _Members):
            members = value
        elif isinstance(value, list):
            members = list(enumerate(value))
        seen = set()
        for key, inner in members:
            inner_path = f"{path}.{key}" if path else str(key)
            if key in seen:
                yield inner_path
            seen.add(key)
            waiting.append((inner_path, inner))


def parse_strictly(raw: bytes) -> Document:
    """Like `parse_document`; and PayloadInvalid names the keys that stand twice."""
    document = parse_document(raw)
    if repeated := repeated_keys(raw, canonical_json(document)):
        raise refused_keys(repeated)
    return document


def refused_keys(paths: list[str]) -> PayloadInvalid:
    errors = [{"path": path, "message": "this key stands twice"} for path in paths]
    return PayloadInvalid(str(FailureCode.INVALID_PAYLOAD), errors)


# As an escape, and not as the text of a backslash and what follows.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def unstorable(text: bytes, document: Document) -> str | None:
    """Why jsonb would refuse this document, or None. `text` is its JSON."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "a string holds a lone surrogate"
    # A single byte is found several times faster than more of them.
    if b"\\" in text and b"\\u0000" in text and _NUL.search(text):
        return "a string holds the NUL character"
    if (b"N" in text or b"I" in text) and not _is_finite(text, document):
        return "a number is NaN, infinite or too large for a float"
    return None


def _is_finite(text: bytes, document: Document) -> bool:
    if b"NaN" not in text and b"Infinity" not in text:
        return True
    try:
        _finite.encode(document)
    except ValueError:
        return False
    return True


def readable(given: object) -> bytes:
    """JSON-like text of whatever was given, at any depth, for people to read.

    What has no form in JSON stands in it as Python shows it.
    """
    text = "".join(islice(_pieces(given), MAX_PIECES))
    return text.encode("utf-8", "surrogatepass")


class _Written(str):
    __slots__ = ()


def _pieces(given: object) -> Iterator[str]:
    waiting: list[object] = [given]
    while waiting:
        match waiting.pop():
            case _Written() as text:
                yield text
            case dict() as members:
                waiting.append(_Written("}"))
                waiting += _listed(
                    [(_Written(f"{_leaf(str(k))}: "), v) for k, v in members.items()]
                )
                yield "{"
            case list() | tuple() as entries:
                waiting.append(_Written("]"))
                waiting += _listed([(entry,) for entry in entries])
                yield "["
            case leaf:
                yield _leaf(leaf)


def _listed(groups: list[tuple[object, ...]]) -> Iterator[object]:
    """With commas between, last first."""
    for position in range(len(groups) - 1, -1, -1):
        yield from reversed(groups[position])
        if position:
            yield _Written(", ")


def _leaf(value: object) -> str:
    try:
        return _as_given.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return json.dumps(_shown(value), ensure_ascii=False)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__}>"
