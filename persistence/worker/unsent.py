"""Finds results that engines left in `cs:` (field `result`) and never handed off."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from persistence.contract import redis_keys
from persistence.worker import accounts, inbox

FINISHED = b"finished"

PAGE_KEYS = 1000


def of_player(char_id: int) -> dict[UUID, bytes]:
    """Documents that nobody handed off, of the combats that the account names."""
    named = accounts.read(char_id, ["combat_session_id", "last_combat_session_id"])
    found: dict[UUID, bytes] = {}
    for text in filter(None, named.values()):
        session_id = _session_id(text)
        if session_id and (raw := owed(session_id)) is not None:
            found[session_id] = raw
    return found


def owed(session_id: UUID) -> bytes | None:
    """The document that nobody handed off, as far as Redis knows."""
    client = inbox.client()
    key = redis_keys.session(session_id)
    if client.type(key) != b"hash":
        return None
    status, raw = client.hmget(key, ["status", "result"])
    if status != FINISHED or not isinstance(raw, bytes):
        return None
    known = client.hexists(redis_keys.result(session_id), "sha256")
    return None if known else raw


def finished() -> Iterator[UUID]:
    """Every finished session that Redis holds; foreign keys are left out."""
    cursor = b"0"
    while True:
        cursor, *keys = inbox.script("session_scan")(
            args=[cursor, redis_keys.SESSION_PREFIX, PAGE_KEYS]
        )
        for key in keys:
            text = key.decode("utf-8", "replace")
            session_id = _session_id(text.removeprefix(redis_keys.SESSION_PREFIX))
            if session_id is not None:
                yield session_id
        if cursor == b"0":
            return


def _session_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
