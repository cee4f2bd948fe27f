"""How a task request shows itself in events, logs and Flower: ids, never loot."""

from __future__ import annotations

import re
from typing import Any

from celery.worker.request import Request

_SESSION_ID = re.compile(r'"session_id"\s*:\s*"([\w-]{22,36})"')
_ID = re.compile(r"[\w-]{22,36}")
_UNKNOWN = "no session id"


class ReadableRequest(Request):
    """Shows the session id in place of what the sender made of the arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        payload = self.args[0] if self.args else self.kwargs.get("payload")
        self._argsrepr = f"({_shown(payload)},)"
        self._kwargsrepr = "{}"
        self.request_dict.update(argsrepr=self._argsrepr, kwargsrepr="{}")


def _shown(payload: object) -> str:
    if isinstance(payload, dict):
        session_id = payload.get("session_id")
        if isinstance(session_id, str) and _ID.fullmatch(session_id):
            return session_id
    elif isinstance(payload, str) and (found := _SESSION_ID.search(payload)):
        return found.group(1)
    return _UNKNOWN
