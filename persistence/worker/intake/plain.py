"""Plain messages: a result and nothing else, as every Celery producer writes them.

They are read from the bytes of their envelope, so that the document in it is parsed
once and kept as its sender wrote it. Any other message is left to Celery, which knows
what follows a task, waits for its moment, or sets aside what cannot be read.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from persistence.contract.errors import PayloadInvalid
from persistence.engine.handoff import Handoff, unchecked
from persistence.worker.intake.envelopes import JSON_TYPE, MAX_NAME, SETTLE

BEGINS = b"[["
ENDS = b'], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
"""The text around the one argument of a task that nothing follows."""

UNUSUAL = ("eta", "expires", "group", "compression", "shadow", "stamped_headers")
"""Headers which say that there is more to a task than its argument."""


@dataclass(frozen=True, slots=True)
class Plain:
    """`message`: as it lies in the queue. `task_id`: the sender's name of the task."""

    message: bytes
    task_id: str
    root_id: str | None
    parent_id: str | None
    handoff: Handoff


def plain(message: bytes, max_bytes: int) -> Plain | None:
    """None for what is left to Celery."""
    try:
        envelope = from_json(message)
        headers = envelope["headers"]
        if not _is_usual(envelope, headers):
            return None
        handoff = unchecked(_argument(envelope["body"]), max_bytes)
    except (ValueError, LookupError, TypeError, AttributeError, PayloadInvalid):
        return None
    task_id, root_id, parent_id = (
        value if isinstance(value := headers.get(name), str) else None
        for name in ("id", "root_id", "parent_id")
    )
    return Plain(message, task_id or "", root_id, parent_id, handoff)


def _is_usual(envelope: dict[str, Any], headers: dict[str, Any]) -> bool:
    task_id = headers.get("id")
    return (
        headers.get("task") == SETTLE
        and isinstance(task_id, str)
        and 0 < len(task_id) <= MAX_NAME
        and not headers.get("retries")
        and all(headers.get(name) is None for name in UNUSUAL)
        and envelope["content-type"] == JSON_TYPE
        and envelope["content-encoding"] == "utf-8"
        and envelope["properties"]["body_encoding"] == "base64"
    )


def _argument(body: str) -> bytes:
    """The text of the document, which may itself be a JSON string."""
    try:
        call = b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError("is no base64") from error
    if not (call.startswith(BEGINS) and call.endswith(ENDS)):
        raise ValueError("is not one argument alone")
    # Two arguments are no JSON text then, and the parser refuses them.
    argument = call[len(BEGINS) : -len(ENDS)]
    if argument.startswith(b'"'):
        text: str = from_json(argument)
        return text.encode("utf-8", "surrogatepass")
    return argument
