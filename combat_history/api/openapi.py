"""The OpenAPI 3.1 description of the API, made from the models it answers with."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from combat_history.api import problems, schemas
from combat_history.api.pages import DEFAULT_LIMIT, MAX_LIMIT
from combat_history.callers import Scope
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.operate import Operation, OperationAnswer
from persistence.contract.payload_schema import payload_schema

Json = dict[str, Any]

VERSION = "1.0.0"
"""The version of the API: raised with its bodies, not with releases of the system."""

_REFERENCE = "#/components/schemas/{model}"
_BODIES: tuple[type[BaseModel], ...] = (
    schemas.Accepted,
    schemas.Belt,
    schemas.BeltRequest,
    schemas.CombatPage,
    schemas.CombatResult,
    OperationAnswer,
    schemas.ProblemDetails,
    schemas.ReservedBelts,
)

SESSION_ID = (
    "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}"
    "|[A-Za-z0-9_-]{21}[AQgw])$"
)
CURSOR = "^[A-Za-z0-9_-]{32}$"

_ID: Json = {"type": "integer", "minimum": 1, "maximum": MAX_BIGINT}

_PROBLEMS = {
    "400": "A parameter is missing or malformed.",
    "401": "No token, or not a known one.",
    "403": "The token lacks the scope.",
    "404": "Unknown.",
    "405": "Another method is needed.",
    "409": "The session has another document, which stands.",
    "413": "The document is too large.",
    "422": "The document breaks the contract; nothing was recorded.",
    "429": "Too many unknown combats in a minute.",
    "500": "An error that nobody foresaw; the server's log tells.",
    "503": "A server did not answer, or nobody can say just now; ask again.",
}
_COMMON_PROBLEMS = ("401", "403", "405", "500", "503")
_RETRIED = ("429", "503")


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
    accepted = _answer(
        "The receipt is durable in PostgreSQL. The same document again is harmless.",
        "Accepted",
    )
    return {
        "operationId": "handOffCombat",
        "security": _needs(Scope.COMBATS_SUBMIT),
        "summary": "Hand over the result of a finished fight",
        "parameters": [
            _parameter(
                "X-Settlement-Signature",
                "header",
                {"type": "string"},
                "key_id:hex, HMAC-SHA-256 over the bytes of the body. Where engine "
                "keys are set, a result without a good one is recorded as failed.",
            )
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("CombatResultPayload")}},
        },
        "responses": {"202": accepted, **_problems("409", "413", "422")},
    }


def _result() -> Json:
    return {
        "operationId": "getCombatResult",
        "security": _needs(Scope.RESULTS_READ),
        "summary": "What became of a fight, for one player",
        "parameters": [
            _session_id(),
            {
                **_parameter(
                    "char_id",
                    "query",
                    _ID,
                    "Who asks: only participants may see a fight.",
                ),
                "required": True,
            },
            _parameter(
                "lang",
                "query",
                {"type": "string"},
                "Language of the texts, as Telegram names it: ru or en.",
            ),
            _parameter(
                "If-None-Match", "header", {"type": "string"}, "An ETag held already."
            ),
        ],
        "responses": {
            "200": _answer(
                "Cancelled and reversed fights are final and may be kept for a day.",
                "CombatResult",
                headers=("ETag", "Cache-Control"),
            ),
            "304": {"description": "What the client holds is still right."},
            **_problems("400", "404", "429"),
            "503": _retried(
                "Redis or PostgreSQL did not answer, and the other does not know the "
                "fight, which may be going on or be accepted; ask again."
            ),
        },
    }


def _combats() -> Json:
    return {
        "operationId": "listCharacterCombats",
        "security": _needs(Scope.RESULTS_READ),
        "summary": "The fights of a player, newest first",
        "parameters": [
            _character_id(),
            _parameter(
                "limit",
                "query",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_LIMIT,
                    "default": DEFAULT_LIMIT,
                },
                "Fights of one page.",
            ),
            _parameter(
                "cursor",
                "query",
                {"type": "string", "pattern": CURSOR},
                "From `next`; opaque.",
            ),
        ],
        "responses": {
            "200": _answer("One page.", "CombatPage", headers=("Link",)),
            **_problems("400"),
        },
    }


def _belt() -> Json:
    return {
        "operationId": "getCharacterBelt",
        "security": _needs(Scope.RESULTS_READ),
        "summary": "The equipped items of the slots belt_1, belt_2 and so on",
        "parameters": [_character_id()],
        "responses": {
            "200": _answer("The belt, in the order of its slots.", "Belt"),
            **_problems("400", "404"),
        },
    }


def _reserve_belts() -> Json:
    over = {
        **_problems("409")["409"],
        "description": "The fight is over or not registered, or a character is not in "
        "it: nothing was reserved.",
    }
    refused = {
        **_problems("422")["422"],
        "description": "The body breaks the contract; nothing was reserved.",
    }
    return {
        "operationId": "reserveBelts",
        "security": _needs(Scope.BELTS_RESERVE),
        "summary": "Reserve the belts of a fight's players, and put them into its cs:",
        "description": (
            "Harmless to repeat. Of a fight that is registered in Redis and goes on, "
            "and of its own characters alone."
        ),
        "parameters": [_session_id()],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("BeltRequest")}},
        },
        "responses": {
            "200": _answer("The belts as the fight may use them.", "ReservedBelts"),
            **_problems("400"),
            "409": over,
            "422": refused,
        },
    }


def _operate() -> Json:
    applied = _answer(
        "Applied, now or before: what every character has after it.", "OperationAnswer"
    )
    refused = {
        **_problems("409")["409"],
        "description": "Nothing was applied. `operation_conflict`: another operation "
        "was, under this `op_id`. Else the code says why, and `shortages` what is not "
        "there; the `op_id` is still free.",
    }
    return {
        "operationId": "operate",
        "security": _needs(Scope.OPERATIONS_WRITE),
        "summary": "Apply a trade, a purchase, a quest: at once, and as a whole",
        "description": (
            "Of one character or of several, in one transaction. The same operation "
            "again is harmless, for ever: it is answered as it was the first time."
        ),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("Operation")}},
        },
        "responses": {
            "200": applied,
            **_problems("409", "413", "422"),
            "409": refused,
        },
    }


def _needs(scope: Scope) -> list[Json]:
    """OpenAPI 3.1 lets a bearer token name the scopes it needs, too."""
    return [{"bearer": [str(scope)]}]


def _self() -> Json:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "getDescription",
        "summary": "This document",
        "security": [],
        "responses": {"200": {"description": "OpenAPI 3.1", "content": content}},
    }


def _schemas() -> Json:
    _, bodies = models_json_schema(
        [*((model, "serialization") for model in _BODIES), (Operation, "validation")],
        ref_template=_REFERENCE,
    )
    payload = payload_schema()
    del payload["$schema"]
    definitions = payload.pop("$defs")
    moved = {"CombatResultPayload": payload, **definitions}
    found: Json = {**bodies["$defs"], **_moved(moved)}
    return dict(sorted(found.items()))


def _moved(node: Any) -> Any:
    """References of a schema that stood alone, as references into this document."""
    if isinstance(node, dict):
        return {
            key: _REFERENCE.format(model=value.removeprefix("#/$defs/"))
            if key == "$ref"
            else _moved(value)
            for key, value in node.items()
        }
    return [_moved(item) for item in node] if isinstance(node, list) else node


def _answer(description: str, model: str, headers: tuple[str, ...] = ()) -> Json:
    return {
        "description": description,
        "headers": {name: {"schema": {"type": "string"}} for name in headers},
        "content": {"application/json": {"schema": _ref(model)}},
    }


def _problems(*statuses: str) -> Json:
    return {
        status: _retried(_PROBLEMS[status])
        if status in _RETRIED
        else _problem(_PROBLEMS[status])
        for status in sorted({*statuses, *_COMMON_PROBLEMS})
    }


def _problem(description: str) -> Json:
    schema = {"schema": _ref("ProblemDetails")}
    return {"description": description, "content": {problems.CONTENT_TYPE: schema}}


def _retried(description: str) -> Json:
    seconds = {"schema": {"type": "integer"}, "description": "Seconds to wait."}
    return {**_problem(description), "headers": {"Retry-After": seconds}}


def _session_id() -> Json:
    return _parameter(
        "session_id",
        "path",
        {"type": "string", "pattern": SESSION_ID},
        "UUID, 32 hex digits or 22 base64url characters.",
    )


def _character_id() -> Json:
    return _parameter("character_id", "path", _ID, "")


def _parameter(name: str, place: str, schema: Json, description: str) -> Json:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": schema,
        **({"description": description} if description else {}),
    }


def _ref(model: str) -> Json:
    return {"$ref": _REFERENCE.format(model=model)}
