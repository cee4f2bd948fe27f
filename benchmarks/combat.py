"""One document, taken at its word, and what is written of it besides balances."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from persistence.contract import redis_keys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSOR = zstd.ZstdCompressor(1)

Json = dict[str, Any]


class Combat:
    """One document with what is asked of it more than once."""

    __slots__ = (
        "document",
        "fight_log",
        "finished_at",
        "loot",
        "participants",
        "received_at",
        "session_id",
        "sha256",
    )

    def __init__(
        self,
        document: Json,
        sha256: str | None = None,
        received_at: datetime | None = None,
    ) -> None:
        """`document` loses its fight log, which is stored apart from it."""
        self.session_id = UUID(document["session_id"])
        self.fight_log = document.pop("replay_log")
        self.document = document
        self.sha256 = sha256
        self.received_at = received_at or datetime.now(UTC)
        ended = document["meta"]["end_timestamp"]
        self.finished_at = datetime.fromtimestamp(ended, UTC)
        self.participants = sorted(
            (int(key), result) for key, result in document["participants"].items()
        )
        self.loot = {
            char_id: result["changes"].get("items_gained")
            or result["ui_report"]["loot_obtained"]
            for char_id, result in self.participants
        }


def compressed(fight_log: object) -> bytes:
    """As it is stored. The compressor is kept: making it costs half of its work."""
    text = orjson.dumps(fight_log)
    return bytes(COMPRESSOR.compress(text, zstd.ZstdCompressor.FLUSH_FRAME))


def effects(combats: Iterable[Combat]) -> Iterator[tuple[Any, ...]]:
    """Commands for Redis, to be sent once the combats are committed."""
    for combat in combats:
        tombstone = redis_keys.tombstone(combat.session_id)
        yield "SET", tombstone, summary(combat), "EX", redis_keys.DAY_SECONDS
        yield "DEL", redis_keys.session(combat.session_id)


def summary(combat: Combat) -> bytes:
    """The tombstone's text."""
    meta = combat.document["meta"]
    return orjson.dumps(
        {
            "winner_team": meta["winner_team"],
            "finish_reason": meta["finish_reason"],
            "end_timestamp": meta["end_timestamp"],
            "participants": {
                str(char_id): {
                    "is_winner": result["is_winner"],
                    "team": result["team"],
                    "xp": result["changes"]["xp_gained"],
                    "gold": result["changes"]["gold_gained"],
                    "loot": [
                        {
                            "name": loot.get("name") or loot["item_template_id"],
                            "qty": loot["qty"],
                        }
                        for loot in combat.loot[char_id]
                    ],
                }
                for char_id, result in combat.participants
            },
        }
    )
