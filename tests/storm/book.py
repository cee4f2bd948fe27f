"""A journal on disk: one JSON object a line, whole or not there at all."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Book:
    """Written by one process, whichever of its lives; read by anybody.

    A line is one write to a file opened for appending: kill -9 loses none that was
    written, and leaves no half of one.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lock = threading.Lock()

    def write(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"at": time.time(), "kind": kind, **fields}) + "\n"
        with self._lock:
            os.write(self._file, line.encode())


class Reader:
    """The lines of a book that were written since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new_lines(self) -> list[Line]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]


def lines_of(path: Path) -> list[Line]:
    return Reader(path).new_lines()
