"""The engine's calls over HTTP, for engines in any language: they play by these.

A dispatcher of this process makes them, as an engine's own would: what Redis forgets of
them is told again while the process lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import cache
from http import HTTPStatus
from typing import TypeVar

import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from pydantic import ValidationError
from redis.commands.core import AsyncScript

from combat_history.api import handoff, parameters
from combat_history.api.endpoint import endpoint, json_response
from combat_history.api.fight_schemas import (
    Actor,
    BeltPieces,
    Context,
    Fighters,
    Heard,
    Leave,
    Left,
    Standing,
    Switched,
    Use,
    Used,
    UsedPieces,
)
from combat_history.api.problems import Problem, invalid_request, unavailable
from combat_history.api.schemas import Body, HeldItem
from combat_history.callers import Caller, Scope
from combat_history.reading import redis_clients
from persistence.contract.errors import (
    CharactersUnknown,
    CombatFinished,
    CombatInProgress,
    CombatNotRegistered,
    CombatRunning,
    DispatchFailed,
    ItemNotOnBelt,
    ItemSpent,
    NotInCombat,
    PayloadInvalid,
    PersistenceError,
    UseIdReused,
)
from persistence.contract.payload import CombatSessionContainerDTO
from persistence.contract.signing import NO_KEYS
from persistence.dispatcher import SyncDispatcher
from persistence.engine import combat_calls, scripts
from persistence.engine.answers import CombatStart
from persistence.engine.ending import Ending, Fight
from persistence.engine.handoff import Receipt
from persistence.engine.steps import MAX_TRIES

MAX_BODY_BYTES = 512 * 1024
"""A thousand players with the longest names of their teams."""

REFUSALS = (
    CharactersUnknown,
    CombatFinished,
    CombatInProgress,
    CombatNotRegistered,
    CombatRunning,
    ItemNotOnBelt,
    ItemSpent,
    NotInCombat,
    UseIdReused,
)
"""What the state of a fight does not allow: 409, under the error's code."""

_Asked = TypeVar("_Asked", bound=Body)
_Told = TypeVar("_Told")


@cache
def dispatcher() -> SyncDispatcher:
    return SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)


@endpoint("POST", Scope.COMBATS_SUBMIT)
async def start(request: HttpRequest, caller: Caller, session_id: str) -> HttpResponse:
    combat = parameters.session_id(session_id)
    teams = _read(request, Fighters).teams()
    started = await _told(dispatcher().start_combat(combat, teams, teams))
    return json_response(_standing(started))


@endpoint("POST", Scope.COMBATS_SUBMIT)
async def join(request: HttpRequest, caller: Caller, session_id: str) -> HttpResponse:
    combat = parameters.session_id(session_id)
    teams = _read(request, Fighters).teams()
    return json_response(_standing(await _told(dispatcher().join(combat, teams))))


@endpoint("POST", Scope.COMBATS_SUBMIT)
async def leave(request: HttpRequest, caller: Caller, session_id: str) -> HttpResponse:
    combat = parameters.session_id(session_id)
    asked = _read(request, Leave)
    await _told(dispatcher().leave(combat, asked.char_id))
    return json_response(Left(session_id=combat, char_id=asked.char_id))


@endpoint("POST", Scope.COMBATS_SUBMIT)
async def use(request: HttpRequest, caller: Caller, session_id: str) -> HttpResponse:
    combat = parameters.session_id(session_id)
    asked = _read(request, Use)
    left = await _told(
        dispatcher().use_item(combat, asked.char_id, asked.inventory_id, asked.use_id)
    )
    return json_response(Used(inventory_id=asked.inventory_id, quantity=left))


@endpoint("POST", Scope.COMBATS_SUBMIT)
async def heartbeat(
    request: HttpRequest, caller: Caller, session_id: str
) -> HttpResponse:
    combat = parameters.session_id(session_id)
    return json_response(Heard(running=await _told(dispatcher().heartbeat(combat))))


@endpoint("POST", Scope.COMBATS_SUBMIT)
async def context(
    request: HttpRequest, caller: Caller, character_id: str
) -> HttpResponse:
    char_id = parameters.character_id("character_id", character_id)
    asked = _read(request, Context)
    switched = await _told(
        dispatcher().switch_context(
            char_id=char_id, to=asked.to, session_id=asked.session_id
        )
    )
    return json_response(
        Switched(
            session_id=switched.session_id,
            changed=switched.changed,
            closed=dict(switched.closed),
        )
    )


@endpoint("POST", Scope.COMBATS_SUBMIT)
async def finish(request: HttpRequest, caller: Caller, session_id: str) -> HttpResponse:
    """As the dispatcher's `finish_combat`; accepted once PostgreSQL has the receipt."""
    combat = parameters.session_id(session_id)
    raw, keys = handoff.body(request), settings.SETTLEMENT_ENGINE_KEYS
    # What the engine signs is what it says; the document that is made of it is ours.
    is_signed = keys.verify_outcome(combat, raw, handoff.signature_of(request))
    limit = settings.SETTLEMENT_MAX_DOCUMENT_BYTES
    try:
        ending = await asyncio.to_thread(
            Ending.of, combat, raw, keys if is_signed else NO_KEYS, limit
        )
        receipt = await _finish(ending, caller, is_signed=is_signed)
    except PayloadInvalid as error:
        raise handoff.refusal(error) from None
    except CombatNotRegistered as error:
        raise _refused(error) from None
    return handoff.accepted(combat, receipt)


async def _finish(ending: Ending, caller: Caller, *, is_signed: bool) -> Receipt:
    for _ in range(MAX_TRIES):
        fight = await _ask(ending)
        made = await asyncio.to_thread(ending.handoff, fight)
        if made is None:
            return Receipt.DUPLICATE
        receipt = await handoff.hand_over(made, caller, is_signed=is_signed)
        if receipt is not Receipt.MOVED:
            return receipt
    raise unavailable("the fight goes on while it is being finished; ask again")


async def _ask(ending: Ending) -> Fight:
    call = combat_calls.roster(ending.session_id, ending.mark)
    script = AsyncScript(redis_clients.async_client(), scripts.source(call.script))
    try:
        return Fight.read(await script(keys=call.keys, args=call.args))
    except redis.RedisError:
        raise unavailable("Redis did not answer; ask again") from None


def _read(request: HttpRequest, model: type[_Asked]) -> _Asked:
    try:
        return model.model_validate_json(request.read(MAX_BODY_BYTES + 1))
    except ValidationError as error:
        raise invalid_request(error, "nothing has changed") from None


async def _told(call: Awaitable[_Told]) -> _Told:
    try:
        return await call
    except DispatchFailed as error:
        raise unavailable(f"{error.detail}; ask again") from None
    except REFUSALS as error:
        raise _refused(error) from None


def _refused(error: PersistenceError) -> Problem:
    _, _, detail = str(error).partition("] ")
    return Problem(HTTPStatus.CONFLICT, error.code, detail)


def _standing(started: CombatStart) -> Standing:
    return Standing(
        session_id=started.session_id,
        belts=started.belts,
        actors={char_id: _actor(one) for char_id, one in started.actors.items()},
        held=[
            HeldItem(
                inventory_id=item.inventory_id,
                character_id=char_id,
                reserved_by=item.session_id,
            )
            for char_id, items in started.held.items()
            for item in items
        ],
    )


def _actor(one: CombatSessionContainerDTO) -> Actor:
    """Without what the engine keeps beside it."""
    return Actor(
        team=one.team,
        hp=one.hp,
        energy=one.energy,
        belt_items=[
            BeltPieces.model_validate(item.model_dump(include=_FIELDS_OF_BELT))
            for item in one.belt_items
        ],
        consumed=[UsedPieces(**use.model_dump()) for use in one.consumed],
    )


_FIELDS_OF_BELT = {*BeltPieces.model_fields}
