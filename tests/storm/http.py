"""The API as its callers know it: an answer, or none."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from tests.support.ids import TOKEN

TIMEOUT_SECONDS = 10


def ask(
    address: str, path: str, document: dict[str, Any] | None = None
) -> tuple[int | None, Any]:
    """Status and body; no status where the connection gave no whole answer."""
    asked = urllib.request.Request(
        address + path,
        data=None if document is None else json.dumps(document).encode(),
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _body(error)
    except (OSError, HTTPException, ValueError):
        return None, None


def is_untrue(status: int, body: Any) -> bool:
    """No server's error but 503, which says when to come again."""
    return status >= 500 and not (status == 503 and body.get("retry_after"))


def _body(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        body = json.loads(error.read())
    except (OSError, HTTPException, ValueError):
        body = {}
    return {**body, "retry_after": error.headers.get("Retry-After")}
