"""A caller of the HTTP API, in this process: Django's client, real servers behind."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import AsyncClient

from combat_history.api import fights
from combat_history.api.schemas import Accepted, CombatResult, ProblemDetails
from combat_history.reading import redis_clients
from persistence.contract.document import Document
from tests.support.documents import HERO
from tests.support.ids import BOT as BOT
from tests.support.ids import ENGINE as ENGINE
from tests.support.ids import OTHER_TOKEN as OTHER_TOKEN
from tests.support.ids import TOKEN as TOKEN

NOBODYS = UUID("0197a000-0000-7000-8000-000000000000")
"""Of a fight that there never was; the same in every process that runs tests."""

NOBODY_LISTENS = "redis://127.0.0.1:1/0"


def request(
    method: str, path: str, token: str | None = TOKEN, **options: Any
) -> HttpResponse:
    headers = options.pop("headers", {})
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"

    async def send() -> Any:
        try:
            client = AsyncClient(enforce_csrf_checks=True)
            return await client.generic(method, path, headers=headers, **options)
        finally:
            await redis_clients.aclose()
            if fights.dispatcher.cache_info().currsize:
                await fights.dispatcher().aclose()

    response: HttpResponse = async_to_sync(send)()
    return response


def get(path: str, token: str | None = TOKEN, **headers: str) -> HttpResponse:
    return request("GET", path, token, headers=headers)


def post(document: Document | str | bytes, token: str | None = TOKEN) -> HttpResponse:
    body = document if isinstance(document, str | bytes) else json.dumps(document)
    return request(
        "POST", "/api/combats", token, data=body, content_type="application/json"
    )


def result_path(
    session_id: UUID | str, char_id: int | str = HERO, language: str = "en"
) -> str:
    return f"/api/combats/{session_id}/result?char_id={char_id}&lang={language}"


def problem(response: HttpResponse, status: HTTPStatus, code: str) -> ProblemDetails:
    """The body of an error that is what it should be."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    told = ProblemDetails.model_validate_json(response.content)
    assert (told.status, told.title) == (status, status.phrase)
    assert told.code == code
    assert told.type.endswith(f":{code}")
    return told


def result_of(response: HttpResponse) -> CombatResult:
    assert response.status_code == HTTPStatus.OK, response.content
    return CombatResult.model_validate_json(response.content)


def accepted(response: HttpResponse) -> Accepted:
    assert response.status_code == HTTPStatus.ACCEPTED, response.content
    return Accepted.model_validate_json(response.content)
