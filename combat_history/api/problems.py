"""Errors of the API as problem details (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from pydantic import ValidationError

from combat_history.api.schemas import Fault, ProblemDetails, Texts
from persistence.contract.operate import Shortage

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """Raised by a view, answered by `endpoint`. `code` is stable, `detail` is prose."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        errors: list[Fault] | None = None,
        shortages: list[Shortage] | None = None,
        text: Texts | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.shortages = shortages
        self.text = text
        self.headers = headers or {}

    def response(self) -> HttpResponse:
        body = ProblemDetails(
            type=f"urn:combat-settlement:{self.code}",
            title=self.status.phrase,
            status=self.status,
            detail=self.detail,
            code=self.code,
            errors=self.errors,
            shortages=self.shortages or None,
            text=self.text,
        )
        return HttpResponse(
            body.model_dump_json(exclude_none=True),
            status=self.status,
            content_type=CONTENT_TYPE,
            headers={"Cache-Control": "no-store", **self.headers},
        )


def bad_parameter(name: str, message: str) -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST,
        "bad_parameter",
        f"{name}: {message}",
        errors=[Fault(path=name, message=message)],
    )


def unavailable(detail: str, text: Texts | None = None) -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "unavailable",
        detail,
        text=text,
        headers={"Retry-After": "1"},
    )


def invalid_request(error: ValidationError, detail: str) -> Problem:
    """Of a body that its model refuses."""
    told = [
        {"path": ".".join(map(str, fault["loc"])), "message": fault["msg"]}
        for fault in error.errors(include_url=False, include_input=False)
    ]
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_request",
        detail,
        errors=faults(told),
    )


def faults(errors: list[dict[str, Any]]) -> list[Fault]:
    return [Fault(path=error["path"], message=error["message"]) for error in errors]
