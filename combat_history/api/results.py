"""GET /api/combats/{id}/result: the answer to a stale button, over HTTP."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import get_conditional_response

from combat_history.api import parameters
from combat_history.api.endpoint import json_response
from combat_history.api.limits import UnknownLimit
from combat_history.api.problems import Problem, unavailable
from combat_history.api.schemas import CombatResult, Texts
from combat_history.callers import Caller
from combat_history.reading import player_text
from combat_history.reading.lookup import Credit, Lookup, State, afind_result
from persistence.contract.redis_keys import DAY_SECONDS

# What was credited may still be undone, which would not reach a client that keeps it.
FINAL = frozenset({Credit.CANCELLED, Credit.REVERSED})


async def result(
    request: HttpRequest, caller: Caller, session_id: UUID
) -> HttpResponseBase:
    char_id = parameters.character_id("char_id", request.GET.get("char_id"))
    limit = UnknownLimit(caller, char_id)
    lookup = await afind_result(session_id, char_id, before_database=limit.refuse_over)
    language = request.GET.get("lang")
    if lookup.state is State.UNKNOWN:
        await limit.count(session_id)
        raise await _unknown(lookup, language)
    if lookup.state is State.CANNOT_SAY:
        raise unavailable(
            "not everybody could be asked; ask again", await _texts(lookup, language)
        )
    response = json_response(
        CombatResult(
            session_id=session_id,
            state=lookup.state,
            credit=lookup.credit,
            outcome=lookup.outcome,
            text=await _texts(lookup, language),
        ),
        Cache_Control=_caching(lookup),
        Content_Language=player_text.supported_language(language),
    )
    response["ETag"] = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    conditional = get_conditional_response(
        request, etag=response["ETag"], response=response
    )
    assert conditional is not None  # a response was given
    return conditional


def _caching(lookup: Lookup) -> str:
    """Only the player's own client may keep it: the answer depends on who asks."""
    if lookup.credit in FINAL:
        return f"private, max-age={DAY_SECONDS}, immutable"
    return "private, no-cache"


async def _texts(lookup: Lookup, language: str | None) -> Texts:
    # Only the names of balances may have to be read.
    if lookup.outcome is not None and lookup.outcome.balances:
        return await sync_to_async(_texts_of)(lookup, language)
    return _texts_of(lookup, language)


def _texts_of(lookup: Lookup, language: str | None) -> Texts:
    return Texts(
        short=player_text.callback_text(lookup, language),
        long=player_text.message_text(lookup, language),
    )


async def _unknown(lookup: Lookup, language: str | None) -> Problem:
    """The problem of an unknown fight: of others, or one that never existed."""
    return Problem(
        HTTPStatus.NOT_FOUND,
        "unknown_combat",
        "this character has no such combat",
        text=await _texts(lookup, language),
    )
