"""The OpenAPI 3.1 description of the API, made from the models it answers with."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from combat_history.api import (
    events,
    fight_schemas,
    openapi_fights,
    openapi_world,
    schemas,
    world_schemas,
)
from combat_history.api.openapi_parts import (
    ID,
    REFERENCE,
    Json,
    answer,
    character_id,
    needs,
    parameter,
    problems_of,
    ref,
    retried,
    session_id,
)
from combat_history.api.pages import DEFAULT_LIMIT, MAX_LIMIT
from combat_history.callers import Scope
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.operate import Operation, OperationAnswer
from persistence.contract.payload_schema import outcome_schema, payload_schema

VERSION = "1.0.0"
"""The version of the API: raised with its bodies, not with releases of the system."""

_BODIES: tuple[type[BaseModel], ...] = (
    schemas.Accepted,
    schemas.Belt,
    schemas.BeltRequest,
    schemas.CombatPage,
    schemas.EventPage,
    schemas.CombatResult,
    OperationAnswer,
    schemas.ProblemDetails,
    schemas.ReservedBelts,
    *fight_schemas.ANSWERS,
    *world_schemas.ANSWERS,
)

CURSOR = "^[A-Za-z0-9_-]{32}$"


@cache
def document() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Combat Settlement",
            "version": VERSION,
            "description": "Hand finished fights over, and ask what became of them.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/combats": {"post": _hand_off()},
            "/api/combats/{session_id}/result": {"get": _result()},
            "/api/combats/{session_id}/belts": {"post": _reserve_belts()},
            "/api/characters/{character_id}/combats": {"get": _combats()},
            "/api/characters/{character_id}/belt": {"get": _belt()},
            "/api/operations": {"post": _operate()},
            "/api/events": {"get": _events()},
            **openapi_fights.paths(),
            **openapi_world.paths(),
            "/api/openapi.json": {"get": _self()},
        },
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token has a name and scopes.",
                }
            },
            "schemas": _schemas(),
        },
    }


def _hand_off() -> Json:
    accepted = answer(
        "The receipt is durable in PostgreSQL. The same document again is harmless.",
        "Accepted",
    )
    return {
        "operationId": "handOffCombat",
        "security": needs(Scope.COMBATS_SUBMIT),
        "summary": "Hand over the result of a finished fight",
        "parameters": [
            parameter(
                "X-Settlement-Signature",
                "header",
                {"type": "string"},
                "key_id:hex, HMAC-SHA-256 over the bytes of the body. Where engine "
                "keys are set, a result without a good one is recorded as failed.",
            )
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref("CombatResultPayload")}},
        },
        "responses": {"202": accepted, **problems_of("409", "413", "422")},
    }


def _result() -> Json:
    return {
        "operationId": "getCombatResult",
        "security": needs(Scope.RESULTS_READ),
        "summary": "What became of a fight, for one player",
        "parameters": [
            session_id(),
            {
                **parameter(
                    "char_id",
                    "query",
                    ID,
                    "Who asks: only participants may see a fight.",
                ),
                "required": True,
            },
            parameter(
                "lang",
                "query",
                {"type": "string"},
                "Language of the texts, as Telegram names it: ru or en.",
            ),
            parameter(
                "If-None-Match", "header", {"type": "string"}, "An ETag held already."
            ),
        ],
        "responses": {
            "200": answer(
                "Cancelled and reversed fights are final and may be kept for a day.",
                "CombatResult",
                headers=("ETag", "Cache-Control"),
            ),
            "304": {"description": "What the client holds is still right."},
            **problems_of("400", "404", "429"),
            "503": retried(
                "Redis or PostgreSQL did not answer, and the other does not know the "
                "fight, which may be going on or be accepted; ask again."
            ),
        },
    }


def _combats() -> Json:
    return {
        "operationId": "listCharacterCombats",
        "security": needs(Scope.RESULTS_READ),
        "summary": "The fights of a player, newest first",
        "parameters": [
            character_id(),
            _limit(DEFAULT_LIMIT, MAX_LIMIT, "Fights of one page."),
            parameter(
                "cursor",
                "query",
                {"type": "string", "pattern": CURSOR},
                "From `next`; opaque.",
            ),
        ],
        "responses": {
            "200": answer("One page.", "CombatPage", headers=("Link",)),
            **problems_of("400"),
        },
    }


def _events() -> Json:
    after = {"type": "integer", "minimum": 0, "maximum": MAX_BIGINT, "default": 0}
    return {
        "operationId": "listEvents",
        "security": needs(Scope.EVENTS_READ),
        "summary": "What became true of fights and operations, in order",
        "description": (
            "Of all players. Ids have gaps, but none is given behind one that was "
            "listed: asking after the last id that was seen misses none."
        ),
        "parameters": [
            parameter("after", "query", after, "The last id that was seen."),
            _limit(events.DEFAULT_LIMIT, events.MAX_LIMIT, "Events of one page."),
        ],
        "responses": {
            "200": answer("One page.", "EventPage", headers=("Link",)),
            **problems_of("400"),
        },
    }


def _limit(default: int, highest: int, says: str) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": highest, "default": default}
    return parameter("limit", "query", schema, says)


def _belt() -> Json:
    return {
        "operationId": "getCharacterBelt",
        "security": needs(Scope.RESULTS_READ),
        "summary": "The equipped items of the slots belt_1, belt_2 and so on",
        "parameters": [character_id()],
        "responses": {
            "200": answer("The belt, in the order of its slots.", "Belt"),
            **problems_of("400", "404"),
        },
    }


def _reserve_belts() -> Json:
    over = {
        **problems_of("409")["409"],
        "description": "The fight is over or not registered, or a character is not in "
        "it: nothing was reserved.",
    }
    refused = {
        **problems_of("422")["422"],
        "description": "The body breaks the contract; nothing was reserved.",
    }
    return {
        "operationId": "reserveBelts",
        "security": needs(Scope.BELTS_RESERVE),
        "summary": "Reserve the belts of a fight's players, and put them into its cs:",
        "description": (
            "Harmless to repeat. Of a fight that is registered in Redis and goes on, "
            "and of its own characters alone."
        ),
        "parameters": [session_id()],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref("BeltRequest")}},
        },
        "responses": {
            "200": answer("The belts as the fight may use them.", "ReservedBelts"),
            **problems_of("400"),
            "409": over,
            "422": refused,
        },
    }


def _operate() -> Json:
    applied = answer(
        "Applied, now or before: what every character has after it.", "OperationAnswer"
    )
    refused = {
        **problems_of("409")["409"],
        "description": "Nothing was applied. `operation_conflict`: another operation "
        "was, under this `op_id`. Else the code says why, and `shortages` what is not "
        "there; the `op_id` is still free.",
    }
    return {
        "operationId": "operate",
        "security": needs(Scope.OPERATIONS_WRITE),
        "summary": "Apply a trade, a purchase, a quest: at once, and as a whole",
        "description": (
            "Of one character or of several, in one transaction. The same operation "
            "again is harmless, for ever: it is answered as it was the first time."
        ),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref("Operation")}},
        },
        "responses": {
            "200": applied,
            **problems_of("409", "413", "422"),
            "409": refused,
        },
    }


def _self() -> Json:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "getDescription",
        "summary": "This document",
        "security": [],
        "responses": {"200": {"description": "OpenAPI 3.1", "content": content}},
    }


def _schemas() -> Json:
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "serialization") for model in _BODIES),
        *((model, "validation") for model in fight_schemas.REQUESTS),
        *((model, "validation") for model in world_schemas.REQUESTS),
        (Operation, "validation"),
    ]
    _, bodies = models_json_schema(models, ref_template=REFERENCE)
    found: Json = bodies["$defs"]
    for name, schema in (
        ("CombatResultPayload", payload_schema()),
        ("CombatOutcome", outcome_schema()),
    ):
        del schema["$schema"]
        definitions = schema.pop("$defs")
        found |= _moved({name: schema, **definitions})
    return dict(sorted(found.items()))


def _moved(node: Any) -> Any:
    """References of a schema that stood alone, as references into this document."""
    if isinstance(node, dict):
        return {
            key: REFERENCE.format(model=value.removeprefix("#/$defs/"))
            if key == "$ref"
            else _moved(value)
            for key, value in node.items()
        }
    return [_moved(item) for item in node] if isinstance(node, list) else node
