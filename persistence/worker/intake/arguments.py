"""The arguments of a result's message, which Celery's own reader makes less of."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from persistence.contract.document import repeated_keys
from persistence.worker.intake.envelopes import SETTLE, Unreadable


def check_keys(message: Any) -> None:
    """Raises Unreadable where an object of a result's message has a key twice.

    The reader keeps the last of its values; a task would never see the others.
    """
    if message.headers.get("task") != SETTLE:
        return
    body = message.body
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    repeated = repeated_keys(bytes(raw), _written(message.payload))
    if repeated:
        raise Unreadable("arguments", f"{', '.join(repeated)}: this key stands twice")


def _written(payload: object) -> bytes:
    try:
        return to_json(payload)
    except PydanticSerializationError:
        return b""  # looked at key by key
