"""Characters and catalogue over HTTP: registered by the game, read by everybody."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponseBase

from combat_history.actions import register
from combat_history.actions.register import Refused
from combat_history.api import handoff, parameters
from combat_history.api.endpoint import (
    by_method,
    endpoint,
    json_response,
    page_response,
)
from combat_history.api.problems import Problem, bad_parameter
from combat_history.api.schemas import Fault
from combat_history.api.world_schemas import (
    BalanceKindState,
    CharacterState,
    ItemKindState,
    LedgerEntry,
    LedgerPage,
)
from combat_history.callers import Caller, Scope
from combat_history.models import Character, LedgerLine, Operation
from persistence.contract.changes import BALANCE_ID
from persistence.contract.errors import PayloadInvalid
from persistence.contract.world import (
    ITEM_ID,
    BalanceKind,
    ItemKind,
    Registration,
)

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

_Said = TypeVar("_Said", Registration, ItemKind, BalanceKind)


@endpoint("PUT", Scope.CHARACTERS_WRITE)
async def put_character(
    request: HttpRequest, caller: Caller, character_id: str
) -> HttpResponseBase:
    char_id = parameters.character_id("character_id", character_id)
    said = _read(Registration, request)
    try:
        made = await sync_to_async(register.register)([(char_id, said)])
    except Refused as error:
        raise _refused(error) from None
    return json_response(await _state(char_id), _status(is_new=bool(made)))


@endpoint("GET", Scope.RESULTS_READ)
async def get_character(
    request: HttpRequest, caller: Caller, character_id: str
) -> HttpResponseBase:
    return json_response(
        await _state(parameters.character_id("character_id", character_id))
    )


@endpoint("GET", Scope.RESULTS_READ)
async def ledger(
    request: HttpRequest, caller: Caller, character_id: str
) -> HttpResponseBase:
    char_id = parameters.character_id("character_id", character_id)
    limit = parameters.limit(request, DEFAULT_LIMIT, MAX_LIMIT)
    text = request.GET.get("cursor")
    before = None if text is None else parameters.character_id("cursor", text)
    page = await sync_to_async(_ledger)(char_id, limit, before, request.path)
    return page_response(page)


@endpoint("PUT", Scope.CHARACTERS_WRITE)
async def put_item(
    request: HttpRequest, caller: Caller, item_id: str
) -> HttpResponseBase:
    _check_id("item_id", item_id, ITEM_ID)
    kind = _read(ItemKind, request)
    try:
        is_new = await sync_to_async(register.keep_item)(item_id, kind)
    except Refused as error:
        raise _refused(error) from None
    told = ItemKindState(id=item_id, **kind.model_dump())
    return json_response(told, _status(is_new=is_new))


@endpoint("PUT", Scope.CHARACTERS_WRITE)
async def put_balance(
    request: HttpRequest, caller: Caller, balance_id: str
) -> HttpResponseBase:
    _check_id("balance_id", balance_id, BALANCE_ID)
    kind = _read(BalanceKind, request)
    is_new = await sync_to_async(register.keep_balance)(balance_id, kind)
    told = BalanceKindState(id=balance_id, **kind.model_dump())
    return json_response(told, _status(is_new=is_new))


character = by_method(GET=get_character, PUT=put_character)


def _read(model: type[_Said], request: HttpRequest) -> _Said:
    try:
        return model.read(handoff.body(request))
    except PayloadInvalid as error:
        raise handoff.refusal(error) from None


def _check_id(name: str, given: str, pattern: str) -> None:
    if not re.fullmatch(pattern, given):
        raise bad_parameter(name, f"expected {pattern}")


def _status(*, is_new: bool) -> HTTPStatus:
    return HTTPStatus.CREATED if is_new else HTTPStatus.OK


def _refused(error: Refused) -> Problem:
    (fault,) = error.faults.values()
    return Problem(
        HTTPStatus.CONFLICT,
        fault.code.value,
        f"{fault.path} {fault.message}; nothing was recorded",
        errors=[Fault(path=fault.path, message=fault.message)],
    )


async def _state(char_id: int) -> CharacterState:
    found = await sync_to_async(_find)(char_id)
    if found is None:
        raise Problem(
            HTTPStatus.NOT_FOUND, "unknown_character", "there is no such character"
        )
    return found


def _find(char_id: int) -> CharacterState | None:
    row = (
        Character.objects.filter(pk=char_id)
        .prefetch_related("balances", "external_ids")
        .first()
    )
    if row is None:
        return None
    return CharacterState(
        id=row.pk,
        name=row.name,
        xp=row.xp,
        gold=row.gold,
        hp=row.hp,
        energy=row.energy,
        location=row.location,
        balances={one.balance_id: one.amount for one in row.balances.all()},
        external_ids={one.kind: one.value for one in row.external_ids.all()},
    )


def _ledger(char_id: int, limit: int, before: int | None, path: str) -> LedgerPage:
    lines = LedgerLine.objects.filter(character_id=char_id).order_by("-id")
    if before is not None:
        lines = lines.filter(pk__lt=before)
    # One more than asked for tells whether there is a next page.
    found = list(lines[: limit + 1])
    page = found[:limit]
    next_page = None
    if len(found) > limit:
        next_page = f"{path}?{urlencode({'limit': limit, 'cursor': page[-1].pk})}"
    operations = _operations(page)
    return LedgerPage(
        items=[_entry(line, operations.get(line.session_id)) for line in page],
        next=next_page,
    )


def _operations(page: list[LedgerLine]) -> dict[object, Operation]:
    # Of an undone operation, too: its counter-line has the same id.
    ids = {line.session_id for line in page if line.session_id is not None}
    found = Operation.objects.filter(id__in=ids).only("op_id", "id", "reason")
    return {operation.id: operation for operation in found}


def _entry(line: LedgerLine, operation: Operation | None) -> LedgerEntry:
    return LedgerEntry(
        id=line.pk,
        recorded_at=line.recorded_at,
        kind=LedgerLine.Kind(line.kind),
        session_id=line.session_id,
        op_id=operation and operation.op_id,
        reason=operation and operation.reason,
        revision=line.revision,
        xp_delta=line.xp_delta,
        gold_delta=line.gold_delta,
        xp_after=line.xp_after,
        gold_after=line.gold_after,
        balances=line.balances or {},
        items=line.items,
    )
