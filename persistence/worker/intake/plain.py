"""Plain messages: a result and nothing else, as every Celery producer writes them.

They are read from the bytes of their envelope, so that the document in it is parsed
once and kept as its sender wrote it. Any other message is left to Celery, which knows
what follows a task, waits for its moment, or sets aside what cannot be read.
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
    """`message`: as it lies in the queue. `task_id`: the sender's name of the task."""

    message: bytes
    task_id: str
    handoff: Handoff


def plain(message: bytes, max_bytes: int) -> Plain | None:
    """None for what is left to Celery."""
    try:
        envelope = from_json(message)
        headers = envelope["headers"]
        if not _is_usual(envelope, headers):
            return None
        argument, signature = _arguments(envelope["body"])
        handoff = unchecked(argument, max_bytes).signed(signature)
        return Plain(message, name_in(headers, "id"), handoff)
    except UNUSABLE:
        return None


def _is_usual(envelope: dict[str, Any], headers: dict[str, Any]) -> bool:
    return (
        headers.get("task") == SETTLE
        and not headers.get("retries")
        and all(headers.get(name) is None for name in UNUSUAL)
        and all(is_sound(headers.get(name)) for name, is_sound in KNOWN.items())
        and envelope["content-type"] == JSON_TYPE
        and envelope["content-encoding"] == "utf-8"
        and envelope["properties"]["body_encoding"] == "base64"
    )


def _arguments(body: str) -> tuple[bytes, str]:
    """The text of the document, perhaps a JSON string itself, and its signature."""
    call = b64decode(body, validate=True)
    if not (call.startswith(BEGINS) and call.endswith(ENDS)):
        raise ValueError("is not a document alone, or with its signature")
    # More arguments are no JSON text then, and the parser refuses them.
    argument, signature = call[len(BEGINS) : -len(ENDS)], ""
    if two := SIGNED.fullmatch(argument):
        argument, signature = two[1], two[2].decode()
    if argument.startswith(b'"'):
        text: str = from_json(argument)
        argument = text.encode("utf-8", "surrogatepass")
    return argument, signature
