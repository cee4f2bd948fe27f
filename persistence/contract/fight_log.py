"""Fight logs at rest: JSON, zstd level 1 (20 us a log; smaller than zlib)."""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Kept: making one costs as much as compressing a log. Safe to share among threads.
_compressor = zstd.ZstdCompressor(level=1)


def write(log: object) -> bytes:
    """JSON of a fight log: a list of turns or the engine's own base64 string."""
    try:
        return to_json(log)
    except PydanticSerializationError:
        # A lone surrogate: no UTF-8 holds it, an escape does.
        return json.dumps(log).encode()


def pack(log: object) -> bytes:
    return compress(write(log))


def compress(text: bytes) -> bytes:
    """The stored form of a fight log's JSON."""
    return bytes(_compressor.compress(text, zstd.ZstdCompressor.FLUSH_FRAME))


def unpack(data: bytes) -> Any:
    """The fight log exactly as received."""
    text = zstd.decompress(data)
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text)
