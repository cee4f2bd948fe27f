"""Items of a queue become envelopes that kombu can hold, or are set aside.

Anybody may have put anything there. What cannot be read becomes a call of
`keep_unreadable` under its own delivery: it is acknowledged once it is kept, and not
before. `messages` tells which envelopes are calls of tasks of ours.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import json
import logging
import lzma
import zlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from celery.utils.saferepr import saferepr
from django.conf import settings
from kombu.utils.json import loads

logger = logging.getLogger(__name__)

KEEP = "keep_unreadable"
SETTLE = "settle_combat"

MAX_DEPTH = 20
"""How deep headers and properties may be: they are written again and pickled."""

MAX_NAME = 255
MAX_WORDS = 1000

WHY = "unreadable"
"""A header of ours: why the transport could make no message of what it found."""

JSON_TYPE = "application/json"
ENCODINGS = (None, "base64", "utf-8")

Envelope = dict[str, Any]


class Unreadable(Exception):
    """`path` names what of the message cannot be read, `words` say why not."""

    def __init__(self, path: str, words: str) -> None:
        super().__init__(path, words)
        self.path = path
        self.words = words


def max_message_bytes() -> int:
    """A document of the largest size, escaped twice, in base64, with room to spare."""
    return 16 * int(settings.SETTLEMENT_MAX_DOCUMENT_BYTES)


def max_kept_bytes() -> int:
    return 4 * int(settings.SETTLEMENT_MAX_DOCUMENT_BYTES)


def open_item(item: bytes, queue: str) -> Envelope:
    """An item of a Redis list as the envelope that kombu expects. Never raises.

    Its delivery tag and its way back are ours: two items may carry the same tag, and
    what a worker gives back goes to the list it came from, whatever the sender says.
    """
    try:
        envelope = _opened(item)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the worker goes on
        envelope = {
            "body": base64.b64encode(item).decode(),
            "headers": {WHY: told_of(error)},
            "properties": {"body_encoding": "base64"},
        }
    # A tag that stood twice would let one acknowledgement remove two messages.
    properties = envelope["properties"]
    info = properties.get("delivery_info")
    redelivered = isinstance(info, dict) and info.get("redelivered") is True
    properties["delivery_tag"] = str(uuid4())
    properties["delivery_info"] = {
        "exchange": "",
        "routing_key": queue,
        "redelivered": redelivered,
    }
    return envelope


def _opened(item: bytes) -> Envelope:
    if len(item) > max_message_bytes():
        raise Unreadable("", f"{len(item)} bytes are too many for a message")
    found = loads(item)
    if not isinstance(found, dict):
        raise Unreadable("", f"an envelope is an object, not {type(found).__name__}")
    properties = _object(found, "properties")
    envelope = {
        "body": found.get("body"),
        "content-type": short_text(found, "content-type"),
        "content-encoding": short_text(found, "content-encoding"),
        "headers": _object(found, "headers"),
        "properties": properties,
    }
    if not isinstance(envelope["body"], str):
        raise Unreadable("body", "is no text")
    if short_text(properties, "body_encoding") not in ENCODINGS:
        raise Unreadable("properties.body_encoding", "is unknown")
    return envelope


def _object(found: Envelope, name: str) -> dict[str, Any]:
    value = found.get(name) or {}
    if not isinstance(value, dict):
        raise Unreadable(name, "is no object")
    check_depth(name, value)
    return value


def unpack(body: bytes | str | None, compression: object) -> bytes:
    """Raises Unreadable for what does not unpack, or to more than a message may be."""
    if compression not in UNPACKERS:
        raise Unreadable("headers.compression", f"{saferepr(compression)} is unknown")
    packed = body.encode() if isinstance(body, str) else body or b""
    # A few kilobytes may unpack to gigabytes: no more than the limit is ever made.
    limit = max_message_bytes()
    try:
        unpacker = UNPACKERS[str(compression)]()
        unpacked = unpacker.decompress(packed, limit)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise Unreadable("body", f"does not unpack: {error}") from error
    if not unpacker.eof:
        raise Unreadable("body", f"is cut off, or unpacks to over {limit} bytes")
    return bytes(unpacked)


UNPACKERS: dict[object, Callable[[], Any]] = {
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lzma.LZMADecompressor,
}


def set_aside(message: Any, error: BaseException) -> None:
    """Turn a message that cannot be read into a call of `keep_unreadable`."""
    call = call_to_keep(message, error)
    message.errors = []
    message.headers = {"task": KEEP, "id": str(uuid4()), "lang": "py", "retries": 0}
    # Nothing of the sender's is left that Celery's own code could fall over.
    message.properties = {}
    message.content_type, message.content_encoding = JSON_TYPE, "utf-8"
    message.body = json.dumps([call, {}, None])
    message._decoded_cache = None


def call_to_keep(
    message: Any, error: BaseException, body: bytes | None = None
) -> list[Any]:
    """The arguments of `keep_unreadable`; `body`: what of the message is kept."""
    body = _bytes(message.body) if body is None else body
    why = as_unreadable(error)
    told: dict[str, Any] = {
        "path": why.path,
        "message": printable(why.words),
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "queue": _shown(message.delivery_info.get("routing_key")),
        "task": _shown(message.headers.get("task")),
        "id": _shown(message.headers.get("id")),
        "content_type": _shown(message.content_type),
        "headers": _shown(message.headers),
    }
    logger.error(
        "message set aside", extra={"queue": told["queue"], "error": told["message"]}
    )
    return [base64.b64encode(body[: max_kept_bytes()]).decode(), told]


def _bytes(body: object) -> bytes:
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    return bytes(body) if isinstance(body, bytes | bytearray | memoryview) else b""


def printable(text: str) -> str:
    """Bounded, and of characters that PostgreSQL keeps."""
    sound = text[:MAX_WORDS].encode("utf-8", "backslashreplace").decode()
    return sound.replace("\x00", "\\x00")


def _shown(value: object) -> str:
    if value is None:
        return ""
    return printable(value if isinstance(value, str) else saferepr(value, MAX_WORDS))


def as_unreadable(error: BaseException) -> Unreadable:
    return error if isinstance(error, Unreadable) else Unreadable("", told_of(error))


def told_of(error: BaseException) -> str:
    if isinstance(error, Unreadable):
        return f"{error.path}: {error.words}" if error.path else error.words
    return printable(f"{type(error).__name__}: {error}")


def short_text(found: dict[str, Any], name: str) -> str | None:
    value = found.get(name)
    if value is not None and not (isinstance(value, str) and len(value) <= MAX_NAME):
        raise Unreadable(name, "is no short text")
    return value


def name_in(headers: dict[str, Any], name: str) -> str:
    value = short_text(headers, name)
    if not value:
        raise Unreadable(f"headers.{name}", "is missing")
    return value


def check_depth(name: str, value: object) -> None:
    """Level by level: what is too deep for a recursion is what is looked for."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            part
            for parent in level
            for part in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(part, dict | list | tuple)
        ]
        if not level:
            return
    raise Unreadable(name, f"is nested over {MAX_DEPTH} levels deep")
