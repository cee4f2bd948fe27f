"""The views behind `urls`; what each answers with is in `openapi`."""

from __future__ import annotations

from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from combat_history.api import (
    belt,
    events,
    handoff,
    openapi,
    operate,
    pages,
    parameters,
    results,
)
from combat_history.api.endpoint import (
    GETS,
    endpoint,
    json_response,
    not_allowed,
    page_response,
)
from combat_history.api.problems import Problem
from combat_history.callers import Caller, Scope


@endpoint("POST", Scope.COMBATS_SUBMIT)
async def combats(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    return await handoff.accept(request, caller)


@endpoint("GET", Scope.RESULTS_READ)
async def result(
    request: HttpRequest, caller: Caller, session_id: str
) -> HttpResponseBase:
    return await results.result(request, caller, parameters.session_id(session_id))


@endpoint("POST", Scope.BELTS_RESERVE)
async def combat_belts(
    request: HttpRequest, caller: Caller, session_id: str
) -> HttpResponseBase:
    return await belt.reserve(request, caller, parameters.session_id(session_id))


@endpoint("POST", Scope.OPERATIONS_WRITE)
async def operations(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    return await operate.accept(request, caller)


@endpoint("GET", Scope.EVENTS_READ)
async def event_page(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    after = parameters.after(request)
    limit = parameters.limit(request, events.DEFAULT_LIMIT, events.MAX_LIMIT)
    page = await sync_to_async(events.page)(after, limit, request.path)
    return page_response(page)


@endpoint("GET", Scope.RESULTS_READ)
async def character_combats(
    request: HttpRequest, caller: Caller, character_id: str
) -> HttpResponseBase:
    char_id = parameters.character_id("character_id", character_id)
    limit = parameters.limit(request, pages.DEFAULT_LIMIT, pages.MAX_LIMIT)
    text = request.GET.get("cursor")
    cursor = None if text is None else pages.Cursor.parse(text)
    page = await sync_to_async(pages.combats)(char_id, limit, cursor, request.path)
    return page_response(page)


@endpoint("GET", Scope.RESULTS_READ)
async def character_belt(
    request: HttpRequest, caller: Caller, character_id: str
) -> HttpResponseBase:
    char_id = parameters.character_id("character_id", character_id)
    found = await sync_to_async(belt.belt_of)(char_id)
    if found is None:
        raise Problem(
            HTTPStatus.NOT_FOUND, "unknown_character", "there is no such character"
        )
    return json_response(found)


@csrf_exempt
async def description(request: HttpRequest) -> HttpResponse:
    """Open to everybody: it tells how to ask, not what is known."""
    if request.method not in GETS:
        return not_allowed(GETS).response()
    return JsonResponse(openapi.document())


@csrf_exempt
async def not_found(request: HttpRequest) -> HttpResponse:
    return Problem(
        HTTPStatus.NOT_FOUND, "no_such_address", "see /api/openapi.json"
    ).response()
