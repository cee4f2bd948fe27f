"""POST /api/operations: what the game does outside of fights, applied at once."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse

from combat_history.actions.operate import operate
from combat_history.api import handoff
from combat_history.api.endpoint import json_response
from combat_history.api.problems import Problem
from combat_history.callers import Caller
from persistence.contract.errors import (
    OperationConflict,
    OperationRefused,
    PayloadInvalid,
)
from persistence.contract.operate import Operation, Shortage


async def accept(request: HttpRequest, caller: Caller) -> HttpResponse:
    raw = handoff.body(request)
    try:
        operation = await asyncio.to_thread(Operation.read, raw)
    except PayloadInvalid as error:
        raise handoff.refusal(error) from None
    try:
        answer = await sync_to_async(operate)(operation, caller.name)
    except OperationRefused as error:
        raise _refused(error) from None
    except OperationConflict as error:
        raise Problem(HTTPStatus.CONFLICT, "operation_conflict", str(error)) from None
    if not answer.duplicate:
        handoff.doorbell().press("publish_events")
    return json_response(answer)


def _refused(error: OperationRefused) -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        error.code,
        error.detail,
        shortages=[Shortage.model_validate(one) for one in error.shortages],
    )
