"""Operations of the game, through the HTTP API."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse

from persistence.contract.document import Document
from persistence.contract.operate import OperationAnswer
from tests.support.api import TOKEN, request


def operation(
    op_id: str = "trade-1", reason: str = "Shop", /, **characters: Document
) -> Document:
    """Characters as `c101={…}`."""
    asked = {key.removeprefix("c"): changes for key, changes in characters.items()}
    return {"op_id": op_id, "reason": reason, "characters": asked}


def post(body: Any, token: str | None = TOKEN) -> HttpResponse:
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    return request(
        "POST", "/api/operations", token, data=data, content_type="application/json"
    )


def operate(document: Document) -> OperationAnswer:
    """What the API answers of an operation that it applies."""
    response = post(document)
    assert response.status_code == HTTPStatus.OK, response.content
    return OperationAnswer.model_validate_json(response.content)
