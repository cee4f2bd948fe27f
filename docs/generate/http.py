"""docs/reference/http.md, from the OpenAPI document that the API serves."""

from __future__ import annotations

from typing import Any

from combat_history.api.openapi import document
from docs.generate.markdown import code, prose, table, whole_page
from docs.generate.payload import fields, kind

Json = dict[str, Any]

ABOUT = """
Every call carries `Authorization: Bearer <token>`: a token of `manage.py api_token` or
of `SETTLEMENT_API_TOKENS` that has the scope of the call
([Security](../operator/security.md)). Without a known token the answer is 401, without
the scope 403. Errors are problem details (RFC 9457) with a stable `code`; the codes are
in [Codes](codes.md#http). The whole contract is served as OpenAPI 3.1 at
`/api/openapi.json`, without a token.
"""
OTHERS = (
    ("/livez", "The process answers. No token."),
    ("/readyz", "PostgreSQL and Redis answer, no migration is missing. No token."),
    ("/metrics", "Figures for Prometheus; token of `SETTLEMENT_METRICS_TOKEN`."),
    ("/admin/", "The admin."),
)


def page() -> str:
    described = document()
    calls = [
        _call(method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = described["components"]["schemas"]
    return whole_page(
        "HTTP",
        prose(ABOUT),
        *calls,
        "## Other addresses",
        table(("address", "what it says"), [(code(a), what) for a, what in OTHERS]),
        "## Bodies",
        *(_body(name, schemas[name]) for name in _own(schemas)),
    )


def _call(method: str, path: str, operation: Json) -> str:
    parts = [
        f"## {method.upper()} {path}",
        f"{operation['summary']}.",
        _scope(operation["security"]),
        prose(operation.get("description")),
        _parameters(operation.get("parameters", [])),
        _request(operation),
        table(("answer", "body", "when"), _answers(operation["responses"])),
    ]
    return "\n\n".join(filter(None, parts))


def _scope(security: list[Json]) -> str:
    scopes = [scope for needed in security for scope in needed["bearer"]]
    return f"Scope: {', '.join(map(code, scopes))}." if scopes else "No token."


def _parameters(parameters: list[Json]) -> str:
    rows = [
        (
            code(one["name"]),
            one["in"],
            "yes" if one["required"] else "",
            one.get("description", ""),
        )
        for one in parameters
    ]
    return table(("parameter", "in", "required", "meaning"), rows) if rows else ""


def _request(operation: Json) -> str:
    if "requestBody" not in operation:
        return ""
    return f"Body: {_link(operation['requestBody'])}."


def _answers(responses: Json) -> list[tuple[str, str, str]]:
    return [
        (status, _link(answer), answer["description"])
        for status, answer in responses.items()
    ]


def _link(message: Json) -> str:
    for content in message.get("content", {}).values():
        schema = content["schema"]
        if "$ref" not in schema:
            return kind(schema)
        name = schema["$ref"].rpartition("/")[2]
        if name in {"CombatResultPayload", "CombatOutcome"}:
            return f"[{name}](payload.md)"
        return kind(schema)
    return ""


def _own(schemas: Json) -> list[str]:
    """Bodies of the API itself."""
    elsewhere = _of_the_payload()
    return [name for name in schemas if name not in elsewhere]


def _of_the_payload() -> set[str]:
    """Bodies that have a page of their own."""
    from persistence.contract.payload_schema import outcome_schema, payload_schema

    found = {"CombatResultPayload", *payload_schema()["$defs"]}
    return found | {"CombatOutcome", *outcome_schema()["$defs"]}


def _body(name: str, schema: Json) -> str:
    described = prose(schema.get("description"))
    if "enum" in schema:
        allowed = ", ".join(map(code, schema["enum"]))
        return "\n\n".join([f"### {name}", described, f"One of {allowed}."])
    told = fields(schema)
    for other in _of_the_payload():
        told = told.replace(f"](#{other.lower()})", f"](payload.md#{other.lower()})")
    return "\n\n".join(filter(None, [f"### {name}", described, told]))
