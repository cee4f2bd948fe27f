"""Ends live sessions that nobody else ends: unsent or missing results, silence."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import cast
from uuid import UUID

from django.conf import settings

from combat_history.models import CombatHistory
from persistence.contract import redis_keys
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.ids import parse_session_id
from persistence.contract.meta import MIN_END_TIMESTAMP
from persistence.contract.moments import any_unit_ms
from persistence.engine.handoff import Receipt, forced
from persistence.sweeping.abandoned import abandoned
from persistence.worker import inbox, rescue, unsent

logger = logging.getLogger(__name__)

LIMIT = 500
"""Silent combats looked at by one sweep."""

MISSING_AFTER_SECONDS = 30
"""An engine that marked its session finished hands the result over within that."""

MAX_AHEAD_MS = 5 * 60 * 1000
"""How far ahead a heartbeat may be: one beyond would keep its combat alive for ever."""

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
    if CombatHistory.objects.filter(pk=session_id).exists():
        # Redis was emptied, and what it had known of the combat before it ended was
        # handed over again. Whoever is still said to fight in it leaves by themselves.
        inbox.client().delete(redis_keys.session(session_id))
        inbox.client().zrem(redis_keys.ACTIVE, member)
        return 0
    if "result" in session and _hand_off_left(session_id):
        return 1
    # It ended when it was last heard of, as far as anybody can tell.
    ended_at = max(MIN_END_TIMESTAMP, _heartbeat(session) // 1000)
    document, faults = abandoned(session_id, session, ended_at)
    try:
        handoff = forced(document, silent_since)
    except PayloadInvalid as error:
        _report(session_id, session, f"no forced save can be made: {error}")
        inbox.client().zrem(redis_keys.ACTIVE, member)
        return 0
    if faults:
        logger.warning("containers not readable", extra={"session_id": session_id})
        code = str(FailureCode.INVALID_PAYLOAD)
        _keep(session_id, session, PayloadInvalid(code, faults))
    # What is forced is ours, and is proven as an engine's is: a mark in Redis could be
    # anybody's.
    signature = settings.SETTLEMENT_ENGINE_KEYS.sign(handoff.raw)
    receipt, _ = inbox.record(handoff.signed(signature))
    return int(receipt is Receipt.ACCEPTED)


def _hand_off_left(session_id: UUID) -> bool:
    """The engine died between the result and the word that the combat is finished."""
    raw = inbox.client().hget(redis_keys.session(session_id), "result")
    return isinstance(raw, bytes) and rescue.hand_off(session_id, raw)


def _forget(session_id: UUID, session: Mapping[str, str], member: bytes) -> int:
    """Strike it off the active ones; one that vanished without a result is reported."""
    if not session and not _is_known(session_id):
        _report(session_id, session, "the live session is gone and has no result")
    inbox.client().zrem(redis_keys.ACTIVE, member)
    return 0


def _report(session_id: UUID, session: Mapping[str, str], reason: str) -> None:
    logger.error("result missing", extra={"session_id": session_id, "reason": reason})
    _keep(
        session_id,
        session,
        PayloadInvalid.single(FailureCode.RESULT_MISSING, "", reason),
    )


def _keep(session_id: UUID, session: Mapping[str, str], error: PayloadInvalid) -> None:
    raw = json.dumps(session, sort_keys=True, ensure_ascii=False).encode()
    rescue.reject(session_id, raw, error)


def _is_known(session_id: UUID) -> bool:
    return bool(
        inbox.is_handed_off(session_id)
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
    """0 where there is none, or it lies in the future."""
    moment = int(any_unit_ms(session.get("heartbeat")))
    return moment if moment <= _now_ms() + MAX_AHEAD_MS else 0


def _now_ms() -> int:
    """Redis' time, which heartbeats are written by."""
    seconds, microseconds = inbox.client().time()
    return seconds * 1000 + microseconds // 1000
