"""What the descriptions of the API's calls are made of."""

from __future__ import annotations

from typing import Any

from combat_history.api import problems
from combat_history.callers import Scope
from persistence.contract.changes import MAX_BIGINT
from persistence.contract.payload_schema import SESSION_ID

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"

ID: Json = {"type": "integer", "minimum": 1, "maximum": MAX_BIGINT}

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


def needs(scope: Scope) -> list[Json]:
    """OpenAPI 3.1 lets a bearer token name the scopes it needs, too."""
    return [{"bearer": [str(scope)]}]


def answer(description: str, model: str, headers: tuple[str, ...] = ()) -> Json:
    return {
        "description": description,
        "headers": {name: {"schema": {"type": "string"}} for name in headers},
        "content": {"application/json": {"schema": ref(model)}},
    }


def problems_of(*statuses: str) -> Json:
    return {
        status: retried(_PROBLEMS[status])
        if status in _RETRIED
        else problem(_PROBLEMS[status])
        for status in sorted({*statuses, *_COMMON_PROBLEMS})
    }


def problem(description: str) -> Json:
    schema = {"schema": ref("ProblemDetails")}
    return {"description": description, "content": {problems.CONTENT_TYPE: schema}}


def retried(description: str) -> Json:
    seconds = {"schema": {"type": "integer"}, "description": "Seconds to wait."}
    return {**problem(description), "headers": {"Retry-After": seconds}}


def session_id() -> Json:
    return parameter(
        "session_id",
        "path",
        {"type": "string", "pattern": SESSION_ID},
        "UUID, 32 hex digits or 22 base64url characters.",
    )


def character_id() -> Json:
    return parameter("character_id", "path", ID, "")


def parameter(name: str, place: str, schema: Json, description: str) -> Json:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": schema,
        **({"description": description} if description else {}),
    }


def ref(model: str) -> Json:
    return {"$ref": REFERENCE.format(model=model)}
