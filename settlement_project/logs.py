"""The format of log lines: time, level, message, every `extra` field as key=value."""

from __future__ import annotations

import logging

_UNSAID = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", (), None)).keys()
    # Celery's own extra, `data`, holds the task's whole context.
    | {"message", "asctime", "data"}
)


class KeyValueFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line = super().formatMessage(record)
        extra = [
            f"{key}={_one_line(value)}"
            for key, value in vars(record).items()
            if key not in _UNSAID
        ]
        return " ".join((line, *extra))


def _one_line(value: object) -> str:
    """A value that came from outside must not write a line of its own."""
    return str(value).replace("\r", "\\r").replace("\n", "\\n")
