"""What every address of the HTTP API has in common: tokens, methods, description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pytest_django import Settings

from combat_history.callers import Scope
from tests.support.api import (
    NOBODYS,
    OTHER_TOKEN,
    TOKEN,
    get,
    problem,
    request,
    result_path,
)
from tests.support.documents import HERO

pytestmark = pytest.mark.usefixtures("world", "api")


PATHS = [
    ("POST", "/api/combats"),
    ("GET", result_path(NOBODYS)),
    ("GET", f"/api/characters/{HERO}/combats"),
    ("GET", f"/api/characters/{HERO}/belt"),
    ("POST", f"/api/combats/{NOBODYS}/belts"),
    ("POST", "/api/operations"),
    ("GET, HEAD, PUT", f"/api/characters/{HERO}"),
    ("PUT", "/api/items/wolf_pelt"),
    ("PUT", "/api/balances/dust"),
    ("GET", f"/api/characters/{HERO}/ledger"),
    ("GET", "/api/events"),
    *(
        ("POST", f"/api/combats/{NOBODYS}/{call}")
        for call in ("start", "heartbeat", "use", "join", "leave", "finish")
    ),
    ("POST", f"/api/characters/{HERO}/context"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_a_known_token_nobody_gets_in(method: str, path: str) -> None:
    method = method.rpartition(" ")[2]
    missing = request(method, path, None)
    told = problem(missing, HTTPStatus.UNAUTHORIZED, "unauthorized")
    assert missing["WWW-Authenticate"] == 'Bearer realm="combat-settlement"'
    assert "required" in told.detail

    wrong = request(method, path, TOKEN[:-1])
    problem(wrong, HTTPStatus.UNAUTHORIZED, "unauthorized")
    assert wrong["WWW-Authenticate"].endswith('error="invalid_token"')


@pytest.mark.parametrize(
    "header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer  ", TOKEN, "Bearer tökén"]
)
def test_other_credentials_are_no_token(header: str) -> None:
    response = get(PATHS[3][1], None, Authorization=header)

    problem(response, HTTPStatus.UNAUTHORIZED, "unauthorized")


def test_every_configured_token_is_good_and_the_scheme_has_no_case() -> None:
    for header in (f"Bearer {TOKEN}", f"bearer {OTHER_TOKEN}"):
        assert get(PATHS[3][1], None, Authorization=header).status_code == HTTPStatus.OK


def test_no_configured_token_lets_nobody_in(settings: Settings) -> None:
    settings.SETTLEMENT_API_TOKENS = []

    problem(get(PATHS[3][1], ""), HTTPStatus.UNAUTHORIZED, "unauthorized")


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_another_method_is_refused_with_the_allowed_ones(
    method: str, path: str
) -> None:
    response = request("DELETE", path)

    problem(response, HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed")
    assert response["Allow"] == ("GET, HEAD" if method == "GET" else method)


def test_head_is_get_without_its_body() -> None:
    response = request("HEAD", PATHS[3][1])

    assert (response.status_code, response.content) == (HTTPStatus.OK, b"")


def test_unknown_address_of_the_api_is_a_problem_too() -> None:
    problem(get("/api/nothing"), HTTPStatus.NOT_FOUND, "no_such_address")
    posted = request("POST", "/api/combat", data="{}", content_type="application/json")
    problem(posted, HTTPStatus.NOT_FOUND, "no_such_address")


def described() -> dict[str, Any]:
    response = get("/api/openapi.json", None)
    assert response.status_code == HTTPStatus.OK
    found: dict[str, Any] = json.loads(response.content)
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_description_is_whole() -> None:
    document = described()

    assert document["openapi"].startswith("3.1.")
    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas, reference
    operations = [
        operation for path in document["paths"].values() for operation in path.values()
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            named = {
                p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"
            }
            assert named == {part[1:-1] for part in path.split("/") if part[:1] == "{"}
            for status, answer in operation["responses"].items():
                assert answer["description"], (path, status)


def test_description_names_the_scope_of_every_call() -> None:
    for path, methods in described()["paths"].items():
        for operation in methods.values():
            security = operation["security"]
            if path == "/api/openapi.json":
                assert security == []
                continue
            ((scope,),) = [needed["bearer"] for needed in security]
            assert scope in set(Scope)
            assert {"401", "403"} <= set(operation["responses"])


def test_description_has_every_address_and_no_other() -> None:
    described_paths = {
        path.replace("{session_id}", str(uuid4())).replace("{character_id}", "7")
        for path in described()["paths"]
    }
    for path in described_paths:
        assert request("OPTIONS", path).status_code != HTTPStatus.NOT_FOUND
    asked = {urlsplit(path).path for _, path in PATHS} | {"/api/openapi.json"}
    assert len(described_paths) == len(asked)


def test_description_holds_the_payload_contract() -> None:
    schemas = described()["components"]["schemas"]

    payload = schemas["CombatResultPayload"]
    assert {"session_id", "meta", "participants"} <= set(payload["required"])
    player = payload["properties"]["participants"]["patternProperties"]
    assert player == {
        "^[1-9][0-9]{0,18}$": {"$ref": "#/components/schemas/ParticipantResult"}
    }
    assert schemas["Changes"]["additionalProperties"] is False
