"""The formats of log lines: `key=value` for people, or a JSON object a line.

Both say time, level, logger, message and every `extra` field.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from celery import current_task

from combat_history import origin

_UNSAID = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", (), None)).keys()
    # Celery's own extra, `data`, holds the task's whole context; uvicorn's says its
    # message once more, in colours.
    | {"message", "asctime", "data", "color_message"}
)


SERVERS = "uvicorn", "uvicorn.access", "uvicorn.error", "django.server"


class KeyValueFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line = super().formatMessage(record)
        extra = [f"{key}={_one_line(value)}" for key, value in _extra(record)]
        return " ".join((line, *extra))


class JsonFormatter(logging.Formatter):
    """One object a line: a traceback is its `exception`.

    Says as well in which request (`request_id`) or task (`task`, `task_id`, and as
    `delivery` how often it was tried before) it was written.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_whereabouts(),
            **dict(_extra(record)),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        return json.dumps(said, ensure_ascii=False, default=str)


def configuration(level: str, form: str) -> dict[str, Any]:
    """As logging.config.dictConfig takes it. `form`: text or json."""
    found: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": KeyValueFormatter},
            "json": {"()": JsonFormatter},
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"handlers": ["console"], "level": level},
    }
    if form == "json":
        # uvicorn has handlers of its own, whose lines are no JSON.
        quiet = {"handlers": [], "propagate": True}
        found["loggers"] = dict.fromkeys(SERVERS, quiet)
    return found


def _extra(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    for key, value in vars(record).items():
        if key not in _UNSAID:
            yield key, value


def _whereabouts() -> dict[str, Any]:
    found: dict[str, Any] = {}
    if request_id := origin.request_id.get():
        found["request_id"] = request_id
    if current_task:
        request = current_task.request
        found |= {
            "task": current_task.name,
            "task_id": request.id,
            "delivery": request.retries,
        }
    return found


def _one_line(value: object) -> str:
    """A value that came from outside must not write a line of its own."""
    return str(value).replace("\r", "\\r").replace("\n", "\\n")
