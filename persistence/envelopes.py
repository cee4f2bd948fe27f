"""Every message is read here before Celery reads it.

Anybody may have put anything into a queue. What is a call of a task of ours goes on in
one spelling: protocol 2, headers of the types that Celery expects, limits of ours. The
rest becomes a call of `keep_unreadable` under its own delivery: it is acknowledged once
it is kept, and not before.
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
from datetime import datetime
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.app.task import Context
from celery.utils.saferepr import saferepr
from celery.utils.time import maybe_iso8601, maybe_make_aware
from django.conf import settings
from kombu.utils.json import dumps, loads

logger = logging.getLogger(__name__)

KEEP = "keep_unreadable"
SETTLE = "settle_combat"

MAX_DEPTH = 20
"""Of headers and properties, which are written again and pickled."""

MAX_NAME = 255
MAX_RETRIES = 1_000_000
MAX_WORDS = 1000

MAX_ETA_SECONDS = 30
"""What waits longer is delivered anew while it waits, and once more each time."""

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
            "headers": {WHY: _told(error)},
            "properties": {"body_encoding": "base64"},
        }
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
        "content-type": _text(found, "content-type"),
        "content-encoding": _text(found, "content-encoding"),
        "headers": _object(found, "headers"),
        "properties": properties,
    }
    if not isinstance(envelope["body"], str):
        raise Unreadable("body", "is no text")
    if _text(properties, "body_encoding") not in ENCODINGS:
        raise Unreadable("properties.body_encoding", "is unknown")
    return envelope


def _object(found: Envelope, name: str) -> dict[str, Any]:
    value = found.get(name) or {}
    if not isinstance(value, dict):
        raise Unreadable(name, "is no object")
    _check_depth(name, value)
    return value


def unpack(body: bytes | str | None, compression: object) -> bytes:
    """Raises Unreadable for what does not unpack, or to more than a message may be."""
    if compression not in UNPACKERS:
        raise Unreadable("headers.compression", f"{saferepr(compression)} is unknown")
    packed = body.encode() if isinstance(body, str) else body or b""
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


def read(message: Any, app: Celery) -> None:
    """Bring a message into the one spelling, or raise Unreadable.

    It is then a call, of protocol 2, of a task that `app` has, with arguments that it
    takes. A result does not expire, and nobody but us limits or delays a task.
    """
    headers = message.headers
    if message.errors:
        raise _as_unreadable(message.errors[0][1])
    if WHY in headers:
        raise Unreadable("", str(headers[WHY]))
    if message.content_type != JSON_TYPE:
        raise Unreadable("content-type", f"is {saferepr(message.content_type)}")
    headers = _one_protocol(message)
    _check_depth("headers", headers)
    task: Any = app.tasks.get(_name(headers, "task"))
    if task is None or task.name.startswith("celery."):
        raise Unreadable("headers.task", f"{headers['task']!r} is no task of this")
    message.headers = _sound_headers(headers, app)
    message.properties = _sound_properties(message)
    args, kwargs, embedded = _body(message.payload)
    _check_callbacks(embedded, app)
    try:
        task.__header__(*args, **kwargs)
    except TypeError as error:
        raise Unreadable("arguments", str(error)) from error


def _one_protocol(message: Any) -> dict[str, Any]:
    """The headers; those of protocol 1 lie in the body, which is then written anew."""
    payload = message.payload
    if not isinstance(payload, dict):
        return {**message.headers}
    if not payload.keys() & {"task", "args"}:
        raise Unreadable("body", "is an object that calls nothing")
    told = {**payload, **message.headers}
    call = [
        told.pop("args", None) or [],
        told.pop("kwargs", None) or {},
        {name: told.pop(name, None) for name in ("callbacks", "errbacks", "chord")},
    ]
    message.body = dumps(call)
    message.content_encoding = "utf-8"
    message._decoded_cache = None
    return told


def _sound_headers(headers: dict[str, Any], app: Celery) -> dict[str, Any]:
    sound = {
        name: value
        for name, value in headers.items()
        # Celery lays headers over the attributes of a task's request.
        if name in KNOWN or not (name.startswith("_") or hasattr(Context, name))
    }
    for name, is_sound in KNOWN.items():
        if not is_sound(sound.get(name)):
            raise Unreadable(
                f"headers.{name}", f"{saferepr(sound[name])} is no such value"
            )
    _name(sound, "id")
    sound["retries"] = sound.get("retries") or 0
    for name in ("timelimit", "ignore_result"):
        sound.pop(name, None)
    _moment(sound, "expires", app)
    if sound["task"] == SETTLE:
        sound.pop("expires", None)
    eta = _moment(sound, "eta", app)
    if eta is not None:
        wait = eta.timestamp() - datetime.now(eta.tzinfo).timestamp()
        if not 0 < wait <= MAX_ETA_SECONDS:
            sound.pop("eta")
    return sound


def _moment(headers: dict[str, Any], name: str, app: Celery) -> datetime | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        moment: Any = maybe_iso8601(value)
        moment = maybe_make_aware(moment, app.timezone)
        moment.timestamp()
    except Exception as error:
        raise Unreadable(
            f"headers.{name}", f"{saferepr(value)} is no moment"
        ) from error
    found: datetime = moment
    return found


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= MAX_RETRIES)


def _is_limits(value: object) -> bool:
    return value is None or (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(part is None or type(part) in (int, float) for part in value)
    )


def _is_list_of_text(value: object) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(part, str) for part in value)
    )


KNOWN: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(
        (
            "lang",
            "task",
            "id",
            "root_id",
            "parent_id",
            "group",
            "shadow",
            "argsrepr",
            "kwargsrepr",
            "origin",
            "eta",
            "expires",
        ),
        _is_text,
    ),
    **dict.fromkeys(("retries", "group_index", "replaced_task_nesting"), _is_count),
    "timelimit": _is_limits,
    "ignore_result": lambda value: value in (None, True, False),
    "stamped_headers": _is_list_of_text,
    "stamps": lambda value: value is None or isinstance(value, dict),
}
"""The headers of protocol 2. A moment is text; what it says is looked at later."""


def _sound_properties(message: Any) -> dict[str, Any]:
    """Addresses of answers that nobody sends are of no consequence."""
    found = message.properties
    return {
        name: found[name]
        for name in ("reply_to", "correlation_id")
        if isinstance(found.get(name), str)
    }


def _body(payload: object) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    if not isinstance(payload, list) or len(payload) != 3:
        raise Unreadable("body", "is no list of arguments, named ones and options")
    args, kwargs, embedded = payload
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Unreadable("body", "arguments are a list and an object")
    if embedded is None:
        embedded = {}
    if not isinstance(embedded, dict) or not embedded.keys() <= EMBEDDED:
        raise Unreadable("body", "the options hold what no message of Celery holds")
    return args, kwargs, embedded


EMBEDDED = {"callbacks", "errbacks", "chain", "chord"}


def _check_callbacks(embedded: dict[str, Any], app: Celery) -> None:
    for name, value in embedded.items():
        if not value:
            continue
        _check_depth(f"body.{name}", value)
        callbacks = [value] if name == "chord" else value
        if not isinstance(callbacks, list) or not all(map(_is_call, callbacks)):
            raise Unreadable(f"body.{name}", "holds what is no call of a task")
        try:
            for callback in callbacks:
                app.signature(callback)
        except Exception as error:
            raise Unreadable(f"body.{name}", _told(error)) from error


def _is_call(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("task"), str)
        and isinstance(value.get("args") or [], list)
        and isinstance(value.get("kwargs") or {}, dict)
        and isinstance(value.get("options") or {}, dict)
        and _is_text((value.get("options") or {}).get("queue"))
    )


def set_aside(message: Any, error: BaseException) -> None:
    """Turn a message that cannot be read into a call of `keep_unreadable`."""
    call = call_to_keep(message, error)
    message.errors = []
    message.headers = {"task": KEEP, "id": str(uuid4()), "lang": "py", "retries": 0}
    message.properties = {}
    message.content_type, message.content_encoding = JSON_TYPE, "utf-8"
    message.body = json.dumps([call, {}, None])
    message._decoded_cache = None


def call_to_keep(
    message: Any, error: BaseException, body: bytes | None = None
) -> list[Any]:
    """The arguments of `keep_unreadable`; `body`: what of the message is kept."""
    body = _bytes(message.body) if body is None else body
    why = _as_unreadable(error)
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


def _as_unreadable(error: BaseException) -> Unreadable:
    return error if isinstance(error, Unreadable) else Unreadable("", _told(error))


def _told(error: BaseException) -> str:
    if isinstance(error, Unreadable):
        return f"{error.path}: {error.words}" if error.path else error.words
    return printable(f"{type(error).__name__}: {error}")


def _text(found: dict[str, Any], name: str) -> str | None:
    value = found.get(name)
    if value is not None and not (isinstance(value, str) and len(value) <= MAX_NAME):
        raise Unreadable(name, "is no short text")
    return value


def _name(headers: dict[str, Any], name: str) -> str:
    value = _text(headers, name)
    if not value:
        raise Unreadable(f"headers.{name}", "is missing")
    return value


def _check_depth(name: str, value: object) -> None:
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
