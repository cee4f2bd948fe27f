"""POST /api/combats: the hand-off of engines that reach neither Redis nor the broker.

Accepted once the receipt is committed in PostgreSQL. Redis is only told: while it is
away the sweep finds the pending row.
"""

from __future__ import annotations

import asyncio
import logging
from functools import cache
from http import HTTPStatus

import redis
from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from redis.commands.core import AsyncScript

from combat_history import redis_clients
from combat_history.api.endpoint import json_response
from combat_history.api.problems import Problem, faults
from combat_history.api.schemas import Accepted
from persistence import drain, redis_keys, scripts
from persistence.doorbell import Doorbell
from persistence.errors import FailureCode, PayloadInvalid
from persistence.handoff import Handoff, Receipt, answer, checked
from persistence.protocols import Delivery
from persistence.transactions import renew_connection

logger = logging.getLogger(__name__)


async def accept(request: HttpRequest) -> HttpResponse:
    raw = _body(request)
    try:
        # Off the loop: a document of the largest size takes tens of milliseconds.
        handoff = await asyncio.to_thread(
            checked, raw, settings.SETTLEMENT_MAX_DOCUMENT_BYTES
        )
    except PayloadInvalid as error:
        raise _refusal(error) from None
    holds_another = await _redis_holds_another(handoff)
    if holds_another:
        await _tell_redis(handoff)
        raise _conflict(handoff)
    receipt = await sync_to_async(_receive)(handoff)
    if receipt is Receipt.CONFLICT:
        raise _conflict(handoff)
    # Frozen a moment ago, it would only be waited for once more.
    told = None if holds_another is None else await _tell_redis(handoff)
    return json_response(
        Accepted(
            session_id=handoff.session_id,
            duplicate=Receipt.DUPLICATE in (receipt, told),
        ),
        HTTPStatus.ACCEPTED,
    )


@cache
def doorbell() -> Doorbell:
    return Doorbell(settings.CELERY_BROKER_URL)


def _body(request: HttpRequest) -> bytes:
    limit = settings.SETTLEMENT_MAX_DOCUMENT_BYTES
    # Not `request.body`: its own limit is another one.
    raw = request.read(limit + 1)
    if len(raw) > limit:
        raise _too_large(f"at most {limit} bytes")
    return raw


def _receive(handoff: Handoff) -> Receipt:
    renew_connection()
    delivery = Delivery(handoff.session_id, handoff.raw, handoff.sha256)
    with drain.open_saver() as (saver, _):
        return saver.receive(delivery)


async def _redis_holds_another(handoff: Handoff) -> bool | None:
    """A document accepted by the inbox and not settled yet came first.

    None where Redis does not answer: then PostgreSQL alone judges.
    """
    key = redis_keys.result(handoff.session_id)
    try:
        known = await redis_clients.async_client().hget(key, "sha256")
    except redis.RedisError:
        logger.warning(
            "a receipt waits for the sweep",
            extra={"session_id": handoff.session_id},
            exc_info=True,
        )
        return None
    return known is not None and known != handoff.sha256.encode()


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


def _refusal(error: PayloadInvalid) -> Problem:
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
