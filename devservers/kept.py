"""Secrets that are drawn once and kept in a file beside the data."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path


def secret(path: Path) -> str:
    """The text in `path`, which its owner alone may read; the first to ask draws it."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, drawn = tempfile.mkstemp(dir=path.parent)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{secrets.token_urlsafe(24)}\n")
        # Whole from its first moment, and of two at once both get the same.
        with contextlib.suppress(FileExistsError):
            os.link(drawn, path)
        os.unlink(drawn)
    return path.read_text(encoding="utf-8").strip()
