"""POST /api/combats: the hand-off of engines that reach neither Redis nor the broker.

Accepted once the receipt is committed in PostgreSQL. A session that has a row is judged
by that alone; of any other the hand-off script decides, as for every door, before the
receipt is written. While Redis is away PostgreSQL decides, and the sweep finds the row.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from typing import Any
from uuid import UUID

import redis
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from redis.commands.core import AsyncScript

from combat_history.api.endpoint import json_response
from combat_history.api.problems import Problem, faults
from combat_history.api.schemas import Accepted
from combat_history.callers import Caller
from combat_history.models import CombatHistory, RejectedPayload
from combat_history.reading import redis_clients
from persistence.contract import redis_keys
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.signing import as_signature
from persistence.engine import scripts
from persistence.engine.doorbell import Doorbell
from persistence.engine.handoff import Handoff, Receipt, answer, checked, in_the_future
from persistence.protocols import Delivery
from persistence.savers.registry import open_combat_saver
from persistence.worker.transactions import renew_connection

logger = logging.getLogger(__name__)


async def accept(request: HttpRequest, caller: Caller) -> HttpResponse:
    raw = body(request)
    try:
        # Off the loop: a document of the largest size takes tens of milliseconds.
        handoff = await asyncio.to_thread(
            checked, raw, settings.SETTLEMENT_MAX_DOCUMENT_BYTES
        )
    except PayloadInvalid as error:
        raise refusal(error) from None
    signature = signature_of(request)
    is_signed = settings.SETTLEMENT_ENGINE_KEYS.verify(handoff.raw, signature)
    receipt = await hand_over(handoff.signed(signature), caller, is_signed=is_signed)
    return accepted(handoff.session_id, receipt)


async def hand_over(handoff: Handoff, caller: Caller, *, is_signed: bool) -> Receipt:
    """ACCEPTED, DUPLICATE or MOVED. Raises the problems of another document that
    stands, and of a fight that has not ended yet."""
    known = await sync_to_async(_known)(handoff, caller)
    if known is Receipt.CONFLICT:
        raise _conflict(handoff)
    if not is_signed:
        # Not by way of Redis: a running fight would end, and its players leave it.
        return known or await _receive(handoff, caller, None)
    # Also of a known session: Redis may have lost it, with what it does for accounts.
    told = await _tell_redis(handoff if known is None else handoff.once_accepted())
    if told is Receipt.FUTURE:
        raise refusal(in_the_future())
    if known is None and told is not Receipt.MOVED:
        known = await _receive(handoff, caller, told)
    return known or Receipt.MOVED


def signature_of(request: HttpRequest) -> str:
    return as_signature(request.headers.get("X-Settlement-Signature"))


def accepted(session_id: UUID, receipt: Receipt) -> HttpResponse:
    return json_response(
        Accepted(session_id=session_id, duplicate=receipt is Receipt.DUPLICATE),
        HTTPStatus.ACCEPTED,
    )


@cache
def doorbell() -> Doorbell:
    return Doorbell(settings.BROKER_URL)


def body(request: HttpRequest) -> bytes:
    """Raises a 413 problem for one that is too large."""
    limit = settings.SETTLEMENT_MAX_DOCUMENT_BYTES
    # Not `request.body`: its own limit is another one.
    raw = request.read(limit + 1)
    if len(raw) > limit:
        raise _too_large(f"at most {limit} bytes")
    return raw


def _known(handoff: Handoff, caller: Caller) -> Receipt | None:
    """PostgreSQL's word on a session it has; another document is kept."""
    renew_connection()
    with open_combat_saver() as saver:
        known = saver.judge(_delivery(handoff))
        _note(caller, handoff, known)
    return known


async def _receive(handoff: Handoff, caller: Caller, told: Receipt | None) -> Receipt:
    """Write the receipt, or keep the conflict; `told`: what Redis said, if anything."""
    if told is Receipt.CONFLICT:
        await sync_to_async(_keep)(handoff, caller)
        await _forget_conflict(handoff)
        raise _conflict(handoff)
    try:
        receipt = await sync_to_async(_record)(handoff, caller, told)
    except PayloadInvalid as error:
        raise refusal(error) from None
    if receipt is Receipt.CONFLICT:
        raise _conflict(handoff)
    # A worker may have settled it by now: the row is then this document's own.
    return told or receipt


def _record(handoff: Handoff, caller: Caller, told: Receipt | None) -> Receipt:
    with open_combat_saver() as saver:
        receipt = saver.receive(_delivery(handoff), is_checked=told is None)
        # Also of a row that a worker has written since Redis was told.
        is_conflict = receipt is Receipt.CONFLICT
        _note(caller, handoff, receipt if is_conflict else told or receipt)
    return receipt


def _keep(handoff: Handoff, caller: Caller) -> None:
    with open_combat_saver() as saver:
        saver.keep_conflict(_delivery(handoff))
        _note(caller, handoff, Receipt.CONFLICT)


def _note(caller: Caller, handoff: Handoff, receipt: Receipt | None) -> None:
    """Write the caller's name on what they caused, within the transaction of that.

    A duplicate has caused nothing, and the first name stays.
    """
    rows: QuerySet[Any]
    if receipt is Receipt.ACCEPTED:
        rows = CombatHistory.objects.filter(pk=handoff.session_id)
    elif receipt is Receipt.CONFLICT:
        rows = RejectedPayload.objects.filter(
            session_id=handoff.session_id, payload_sha256=handoff.sha256
        )
    else:
        return
    rows.filter(caller="").update(caller=caller.name)


def _delivery(handoff: Handoff) -> Delivery:
    return Delivery(
        handoff.session_id,
        handoff.raw,
        handoff.sha256,
        signature=handoff.signature,
    )


async def _forget_conflict(handoff: Handoff) -> None:
    """Kept in PostgreSQL now; a drain would count it a second time."""
    field = redis_keys.conflict_field(handoff.sha256, handoff.signature)
    with suppress(redis.RedisError):
        await redis_clients.async_client().hdel(
            redis_keys.result(handoff.session_id), field
        )


async def _tell_redis(handoff: Handoff) -> Receipt | None:
    """The hand-off script and a ring; None where the sweep has to do it."""
    script = AsyncScript(redis_clients.async_client(), scripts.source("handoff"))
    try:
        receipt, to_ring = answer(await script(keys=handoff.keys, args=handoff.args))
    except redis.RedisError:
        logger.warning(
            "a receipt waits for the sweep",
            extra={"session_id": handoff.session_id},
            exc_info=True,
        )
        return None
    if to_ring:
        doorbell().press("settle_inbox")
    return receipt


def refusal(error: PayloadInvalid) -> Problem:
    """Of a document that breaks the contract."""
    if error.code == FailureCode.TOO_LARGE:
        return _too_large(error.errors[0]["message"])
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        error.code,
        "the document breaks the contract; nothing was recorded",
        errors=faults(error.errors),
    )


def _too_large(detail: str) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(FailureCode.TOO_LARGE), detail
    )


def _conflict(handoff: Handoff) -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        str(FailureCode.PAYLOAD_CONFLICT),
        f"combat {handoff.session_id}: another document was accepted before; this one "
        "is kept for review and will not be applied",
    )
