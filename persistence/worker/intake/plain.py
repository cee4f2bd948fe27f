"""Plain messages: a result and nothing else, as every Celery producer writes them.

They are read from their bytes, so that the document in them is parsed once and kept as
its sender wrote it. Any other message is left to Celery, which knows what follows a
task, waits for its moment, or sets aside what cannot be read.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from persistence.contract.errors import PayloadInvalid
from persistence.engine.handoff import Handoff, unchecked
from persistence.worker.intake.envelopes import JSON_TYPE, SETTLE, Unreadable, name_in
from persistence.worker.intake.messages import KNOWN

BEGINS = b"[["
ENDS = b'], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
"""The text around the arguments of a task that nothing follows."""

SIGNED = re.compile(rb'(.*), "([\w.-]{1,40}:[0-9a-f]{64})"', re.DOTALL)
"""Two arguments. Within the text of a document such quotes are escaped."""

UNUSUAL = (
    *("eta", "expires", "group", "parent_id"),
    *("compression", "shadow", "stamped_headers"),
)
"""Headers which say that there is more to a task than its argument."""


UNUSABLE = (
    *(ValueError, LookupError, TypeError, AttributeError),
    *(PayloadInvalid, Unreadable),
)
"""Raised by what is no envelope, no plain call, or no document."""


@dataclass(frozen=True, slots=True)
class Plain:
    """`task_id`: the sender's name of the task."""

    task_id: str
    handoff: Handoff


def read_item(item: bytes, max_bytes: int) -> Plain | None:
    """An item of a Redis list; None for what is left to Celery."""
    try:
        envelope = from_json(item)
        headers = envelope["headers"]
        kind = envelope["content-type"], envelope["content-encoding"]
        encoding = envelope["properties"]["body_encoding"]
        if encoding != "base64" or not _is_usual(headers, *kind):
            return None
        call = b64decode(envelope["body"], validate=True)
        return _called(name_in(headers, "id"), call, max_bytes)
    except UNUSABLE:
        return None


def read_body(task_id: str, body: str, max_bytes: int) -> Plain | None:
    """The body of a message that `looks_plain`; None for what is left to Celery."""
    try:
        return _called(task_id, body.encode("utf-8", "surrogatepass"), max_bytes)
    except UNUSABLE:
        return None


def _called(task_id: str, call: bytes, max_bytes: int) -> Plain:
    argument, signature = _arguments(call)
    return Plain(task_id, unchecked(argument, max_bytes).signed(signature))


def looks_plain(message: Any) -> bool:
    """Whether a message of kombu is one, as far as can be said without parsing it."""
    kind = message.content_type, message.content_encoding
    try:
        name_in(message.headers, "id")
    except Unreadable:
        return False
    return (
        not message.errors
        and _is_usual(message.headers, *kind)
        and isinstance(message.body, str)
        and _is_call(message.body.encode("utf-8", "surrogatepass"))
    )


def _is_usual(
    headers: dict[str, Any], content_type: object, content_encoding: object
) -> bool:
    return (
        headers.get("task") == SETTLE
        and not headers.get("retries")
        and all(headers.get(name) is None for name in UNUSUAL)
        and all(is_sound(headers.get(name)) for name, is_sound in KNOWN.items())
        and (content_type, content_encoding) == (JSON_TYPE, "utf-8")
    )


def _is_call(body: bytes) -> bool:
    return body.startswith(BEGINS) and body.endswith(ENDS)


def _arguments(call: bytes) -> tuple[bytes, str]:
    """The text of the document, perhaps a JSON string itself, and its signature."""
    if not _is_call(call):
        raise ValueError("is not a document alone, or with its signature")
    # More arguments are no JSON text then, and the parser refuses them.
    argument, signature = call[len(BEGINS) : -len(ENDS)], ""
    if two := SIGNED.fullmatch(argument):
        argument, signature = two[1], two[2].decode()
    if argument.startswith(b'"'):
        text: str = from_json(argument)
        argument = text.encode("utf-8", "surrogatepass")
    return argument, signature
