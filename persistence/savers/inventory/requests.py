"""Reads requests for operations: elements of the list and parked ones, alike.

A request keeps the document as it was received; its identity is the SHA-256 of that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

from pydantic_core import from_json, to_json

from persistence.contract.changes import MAX_BIGINT
from persistence.contract.document import (
    Document,
    canonical_json,
    digest,
    refused_keys,
    repeated_keys,
)
from persistence.contract.errors import OperationInvalid, ParkCode
from persistence.contract.operations import (
    MADE_BY,
    MAX_OP_ID,
    OURS,
    Operation,
    is_op_id,
    parse_operation,
)
from persistence.contract.signing import NO_KEYS, SIGNATURE_FIELD, EngineKeys
from persistence.worker.parking import OpenOperation

MAX_OPERATION_BYTES = 64 * 1024
"""An operation has some two hundred; what is larger is kept cut and not read."""

Claim = tuple[str, int | str]
"""What an operation touches: ("row", inventory id), ("op", op_id), ("stack", template).
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `key`: its op_id, or a name made of its bytes where it has none.

    `operation` is None where `code` and `fault` say why it is none.
    """

    key: str
    op_id: str | None
    sha256: str
    document: Any
    operation: Operation | None
    fault: str
    code: ParkCode = ParkCode.INVALID

    def second_key(self) -> str:
        """The key to park it under where another operation has its op_id already."""
        tail = f"#{self.sha256[:12]}"
        return self.key[: MAX_OP_ID - len(tail)] + tail

    def claims(self, key: str) -> Iterator[Claim]:
        """Claims that it holds while it is parked under the key, broken or not."""
        # Read from the document and not from the operation: a broken one touches what
        # it names, and what it would have done is for a person to say.
        yield ("op", key)
        if not isinstance(self.document, dict):
            return
        for field in ("inventory_id", "into"):
            if (claim := row_claim(self.document.get(field))) is not None:
                yield claim
        template_id = self.document.get("item_template_id")
        if isinstance(template_id, str) and self.document.get("op") != "remove":
            yield ("stack", template_id)


def row_claim(reference: object) -> Claim | None:
    if isinstance(reference, str) and reference.startswith(MADE_BY):
        return ("op", reference.removeprefix(MADE_BY))
    return ("row", reference) if type(reference) is int else None


def read_element(char_id: int, raw: bytes, keys: EngineKeys = NO_KEYS) -> Request:
    """One element of the list. Never raises: what is no operation says so.

    A signature belongs to the element; the operation goes without it.
    """
    document, fault = _parsed(raw)
    signature = document.pop(SIGNATURE_FIELD, None) if _is_dict(document) else None
    kept = document if document is not None and _is_storable(document) else _text(raw)
    op_id = _op_id(document)
    key = op_id or f"raw:{hashlib.sha256(raw).hexdigest()[:16]}"
    operation, fault = _operation(char_id, document, fault)
    code = ParkCode.INVALID
    if operation is not None:
        code, fault = _unwanted(char_id, operation, document, signature, keys)
    wanted = None if fault else operation
    return Request(key, op_id, identity(kept), kept, wanted, fault, code)


def _is_dict(document: object) -> TypeGuard[Document]:
    return isinstance(document, dict)


def _unwanted(
    char_id: int,
    operation: Operation,
    document: Any,
    signature: object,
    keys: EngineKeys,
) -> tuple[ParkCode, str]:
    """Why what is an operation is not for anybody to queue; no fault where it is."""
    if not keys.verify_operation(char_id, document, signature):
        return ParkCode.BAD_SIGNATURE, "no engine's key has signed it for this player"
    if operation.op_id.startswith(OURS):
        return (
            ParkCode.BAD_SIGNATURE,
            f"{OURS}… is what a person asks for",
        )
    return ParkCode.INVALID, ""


def read_parked(char_id: int, parked: OpenOperation) -> Request:
    """A parked operation, to be tried again."""
    kept, fault = parked.operation, ""
    document = kept
    # Text was no JSON that jsonb holds when it was parked; a newer worker may read it.
    if isinstance(kept, str):
        document, fault = _parsed(kept.encode())
    operation, fault = _operation(char_id, document, fault)
    return Request(
        parked.op_id, _op_id(document), identity(kept), kept, operation, fault
    )


def identity(document: object) -> str:
    """SHA-256 of a document as it is kept."""
    return digest(canonical_json(cast("Document", document)))


def _parsed(raw: bytes) -> tuple[object, str]:
    if len(raw) > MAX_OPERATION_BYTES:
        return None, f"larger than {MAX_OPERATION_BYTES} bytes"
    try:
        document = from_json(raw)
    except ValueError as error:
        return None, f"no JSON: {error}"
    repeated = repeated_keys(raw, to_json(document))
    return (None, str(refused_keys(repeated))) if repeated else (document, "")


def _op_id(document: object) -> str | None:
    op_id = document.get("op_id") if isinstance(document, dict) else None
    return op_id if is_op_id(op_id) else None


def _operation(
    char_id: int, document: object, fault: str
) -> tuple[Operation | None, str]:
    if fault:
        return None, fault
    try:
        return parse_operation(char_id, document), ""
    except OperationInvalid as error:
        return None, "; ".join(
            f"{e['path'] or 'operation'}: {e['message']}" for e in error.errors
        )


def _is_storable(document: object) -> bool:
    """Whether jsonb holds exactly this; operations hold neither floats nor NUL."""
    # A list of what is left and no recursion: the depth is the sender's to choose.
    waiting = [document]
    while waiting:
        match waiting.pop():
            case bool() | None:
                pass
            case int() as number if abs(number) <= MAX_BIGINT:
                pass
            case str() as text if "\x00" not in text:
                pass
            case list() as entries:
                waiting += entries
            case dict() as members:
                waiting += members.keys()
                waiting += members.values()
            case _:
                return False
    return True


def _text(raw: bytes) -> str:
    text = raw[:MAX_OPERATION_BYTES].decode("utf-8", "backslashreplace")
    # PostgreSQL's text holds no NUL; shown as the escape that JSON would have.
    return text.replace("\x00", "\\u0000")
