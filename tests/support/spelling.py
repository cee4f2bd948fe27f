"""One document in the spellings that its senders may give it."""

from __future__ import annotations

import json
from typing import Any

from persistence.contract.document import Document
from persistence.contract.ids import parse_session_id, short_id

SPELLINGS = ("as it was", "hex", "capitals", "short", "other order", "alias")


def respelt(document: Document, spelling: str) -> Document:
    """The same document: equal values, in other words."""
    copy: Document = json.loads(json.dumps(document))
    session_id = parse_session_id(document["session_id"])
    match spelling:
        case "hex":
            copy["session_id"] = session_id.hex
        case "capitals":
            copy["session_id"] = str(session_id).upper()
        case "short":
            copy["session_id"] = short_id(session_id)
        case "other order":
            copy = dict(reversed(copy.items()))
        case "alias":
            text = json.dumps(copy).replace('"inventory_id"', '"inv_id"')
            copy = json.loads(text)
    return copy


def with_key_twice(text: str, key: str, value: Any) -> str:
    """The JSON text of an object, with one member more at its end."""
    return f"{text.rstrip()[:-1]}, {json.dumps(key)}: {json.dumps(value)}}}"
