"""Answers requests that nothing behind could read, in one place: 400."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import DataError
from django.http import HttpRequest, HttpResponseBadRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase

Answer = Callable[[HttpRequest], HttpResponseBase]
AsyncAnswer = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

BROKEN = (SuspiciousOperation, MultiPartParserError, UnreadablePostError)
"""Too many fields, too much of them, or none that can be told apart.

Under DEBUG Django's own page of such an error reads the fields again, and fails.
"""


NO_SUCH_VALUE = (ValidationError, DataError, OverflowError)
"""No type, or no column, holds what the request named."""

logger = logging.getLogger(__name__)


class ReadableRequestsMiddleware:
    """Refuses NUL, which no text of PostgreSQL holds, and fields beyond all bounds.

    Every address and every form goes through here; bodies of the API are JSON, whose
    own readers know both.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Answer | AsyncAnswer) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if iscoroutinefunction(self._get_response):
            return self._acall(request)
        response = _refusal(request) or self._get_response(request)
        assert isinstance(response, HttpResponseBase)
        return response

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        if (refused := _refusal(request)) is not None:
            return refused
        response = self._get_response(request)
        assert not isinstance(response, HttpResponseBase)
        return await response

    def process_exception(
        self, request: HttpRequest, error: Exception
    ) -> HttpResponseBase | None:
        if not isinstance(error, NO_SUCH_VALUE):
            return None
        logger.warning("refused", extra={"path": request.path}, exc_info=error)
        return _bad_request("a value out of bounds")


def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    try:
        fields = [request.GET]
        if request.content_type in FORMS:
            fields.append(request.POST)
    except BROKEN as error:
        return _bad_request(f"unreadable fields: {error}")
    texts = [request.path]
    for field in fields:
        for name, values in field.lists():
            texts += [name, *values]
    if any("\0" in text for text in texts):
        return _bad_request("a NUL character")
    return None


def _bad_request(why: str) -> HttpResponseBase:
    return HttpResponseBadRequest(
        f"Bad request: {why}\n", content_type="text/plain; charset=utf-8"
    )
