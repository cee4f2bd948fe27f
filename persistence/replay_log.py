"""Replay logs at rest: JSON, zstd level 1 (20 us a log; smaller than zlib)."""

from __future__ import annotations

import sys
from typing import Any

from pydantic_core import from_json, to_json

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVEL = 1


def pack(replay_log: object) -> bytes:
    """Compress a replay log: a list of turns or the engine's own base64 string."""
    return zstd.compress(to_json(replay_log), _LEVEL)


def unpack(data: bytes) -> Any:
    """The replay log exactly as received."""
    return from_json(zstd.decompress(data))
