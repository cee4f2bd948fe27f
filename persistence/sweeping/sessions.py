"""Live sessions that nobody ends: unsent results, missing ones, silent engines."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import cast
from uuid import UUID

from django.conf import settings
from pydantic import ValidationError

from combat_history.models import CombatHistory
from persistence import inbox, redis_keys, rescue, unsent
from persistence.document import Document
from persistence.errors import FailureCode, PayloadInvalid
from persistence.handoff import Receipt, forced
from persistence.ids import parse_session_id
from persistence.payload import (
    PLAYER_KEY,
    CombatSessionContainerDTO,
    FinishReason,
)

logger = logging.getLogger(__name__)

LIMIT = 500
"""Silent combats looked at by one sweep."""

MISSING_AFTER_SECONDS = 30
"""An engine that marked its session finished hands the result over within that."""

REPORTED = "reported"
"""Field of a session whose missing result has been made a row."""


def hand_off_unsent() -> int:
    """Results that the engine left in `cs:` and never handed off."""
    handed = 0
    for session_id in unsent.finished():
        raw = unsent.owed(session_id)
        if raw is not None:
            handed += rescue.hand_off(session_id, raw)
    return handed


def report_missing() -> int:
    """Finished sessions without a result: a row says so; nothing is invented."""
    return sum(map(_report_if_missing, unsent.finished()))


def force_abandoned() -> int:
    """End combats whose engine has been silent: what was consumed, and no rewards.

    The hand-off script itself looks at status and heartbeat again, so that exactly one
    of a forced and a late real result counts; the other is a visible conflict.
    """
    silent_since = _now_ms() - settings.SETTLEMENT_ABANDONED_SECONDS * 1000
    silent: list[bytes] = inbox.client().zrangebyscore(
        redis_keys.ACTIVE, "-inf", silent_since, start=0, num=LIMIT
    )  # type: ignore[assignment]  # no scores asked for: plain members
    return sum(_force(member, silent_since) for member in silent)


def _report_if_missing(session_id: UUID) -> int:
    session = _session(session_id)
    if (
        session.get("status") != "finished"
        or "result" in session
        or REPORTED in session
        or _heartbeat(session) > _now_ms() - MISSING_AFTER_SECONDS * 1000
        or _is_known(session_id)
    ):
        return 0
    _report(session_id, session, "the session is finished and has no result")
    inbox.client().hset(redis_keys.session(session_id), REPORTED, "1")
    return 1


def _force(member: bytes, silent_since: int) -> int:
    try:
        session_id = parse_session_id(member.decode("utf-8", "replace"))
    except ValueError:
        inbox.client().zrem(redis_keys.ACTIVE, member)
        return 0
    session = _session(session_id)
    if session.get("status") != "active":
        return _forget(session_id, session, member)
    if _heartbeat(session) >= silent_since:
        # Heard of, though not through us: an engine may keep the hash alone.
        inbox.client().zadd(redis_keys.ACTIVE, {member: _heartbeat(session)}, xx=True)
        return 0
    try:
        handoff = forced(_abandoned(session_id, session), silent_since)
    except PayloadInvalid as error:
        _report(session_id, session, f"no forced save can be made: {error}")
        inbox.client().zrem(redis_keys.ACTIVE, member)
        return 0
    receipt, _ = inbox.record(handoff)
    return int(receipt is Receipt.ACCEPTED)


def _forget(session_id: UUID, session: Mapping[str, str], member: bytes) -> int:
    """Not active any more; a session that vanished without a result is reported."""
    if not session and not _is_known(session_id):
        _report(session_id, session, "the live session is gone and has no result")
    inbox.client().zrem(redis_keys.ACTIVE, member)
    return 0


def _abandoned(session_id: UUID, session: Mapping[str, str]) -> Document:
    """The document of a forced save: what `cs:` knows, and not a coin more."""
    return {
        "session_id": str(session_id),
        "meta": {
            "end_timestamp": max(1, _heartbeat(session) // 1000),
            "winner_team": None,
            "finish_reason": str(FinishReason.ABANDONED),
            "forced": True,
        },
        "participants": {
            char_id: _participant(session_id, char_id, container)
            for char_id, container in _actors(session).items()
        },
    }


def _participant(
    session_id: UUID, char_id: str, container: str | None
) -> dict[str, object]:
    nothing: dict[str, object] = {"is_winner": False, "changes": {}}
    if container is None:
        return nothing
    try:
        actor = CombatSessionContainerDTO.model_validate_json(container)
    except ValidationError:
        # Kept for people to read; what it cannot say is not taken.
        logger.warning(
            "container of an abandoned combat is not readable",
            extra={"session_id": session_id, "char_id": char_id},
        )
        return {**nothing, "container": container}
    consumed = [used.model_dump(exclude_none=True) for used in actor.consumed]
    found: dict[str, object] = {
        "is_winner": False,
        "changes": {"items_consumed": consumed} if consumed else {},
    }
    if actor.team is not None:
        found["team"] = actor.team
    if actor.hp is not None and actor.energy is not None:
        found["state_snapshot"] = {"hp": actor.hp, "energy": actor.energy}
    return found


def _actors(session: Mapping[str, str]) -> dict[str, str | None]:
    """Players by id: those that are listed, and those that have a container."""
    try:
        listed = json.loads(session.get("participants", "[]"))
    except ValueError:
        listed = []
    names = [str(id_) for id_ in listed] if isinstance(listed, list) else []
    prefix = redis_keys.ACTOR_PREFIX
    names += [field[len(prefix) :] for field in session if field.startswith(prefix)]
    players = dict.fromkeys(name for name in names if PLAYER_KEY.fullmatch(name))
    return {name: session.get(f"{prefix}{name}") for name in players}


def _report(session_id: UUID, session: Mapping[str, str], reason: str) -> None:
    logger.error("result missing", extra={"session_id": session_id, "reason": reason})
    rescue.reject(
        session_id,
        json.dumps(session, sort_keys=True, ensure_ascii=False).encode(),
        PayloadInvalid.of(FailureCode.RESULT_MISSING, "", reason),
    )


def _is_known(session_id: UUID) -> bool:
    return bool(
        inbox.client().hexists(redis_keys.result(session_id), "sha256")
        or CombatHistory.objects.filter(pk=session_id).exists()
    )


def _session(session_id: UUID) -> dict[str, str]:
    """Empty where there is none, or a foreign type sits there."""
    client = inbox.client()
    key = redis_keys.session(session_id)
    if client.type(key) != b"hash":
        return {}
    fields = cast("dict[bytes, bytes]", client.hgetall(key))
    return {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for name, value in fields.items()
    }


def _heartbeat(session: Mapping[str, str]) -> int:
    try:
        return int(session.get("heartbeat", "0"))
    except ValueError:
        return 0


def _now_ms() -> int:
    return int(time.time() * 1000)
