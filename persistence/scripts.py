"""The Lua scripts: each runs atomically in Redis, in one round trip."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


def source(name: str) -> str:
    """Text of `lua/<name>.lua`; its header states keys, arguments and reply."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
