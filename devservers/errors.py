"""The one error of the embedded servers, worded for the person at the terminal."""

from __future__ import annotations

from pathlib import Path

LOG_LINES_SHOWN = 12  # the reason of a failed start is within the last few lines


class EmbeddedError(RuntimeError):
    """The embedded pair cannot serve. The text says what, where, and what to do."""


def tail(log: Path) -> str:
    """Where `log` is and how it ends, for the end of an error text."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"(its log {log} cannot be read: {error.strerror})"
    shown = "\n".join(f"  | {line}" for line in lines[-LOG_LINES_SHOWN:])
    return f"{log} ends with:\n{shown}"
