"""Gives a request its id, the proxy's where there is one, for log and audit."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from uuid import uuid4

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from combat_history.actions.audit import answering

HEADER = "X-Request-ID"
_USABLE = re.compile(r"[\w.:-]{1,64}")

Answer = Callable[[HttpRequest], HttpResponseBase]
AsyncAnswer = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class RequestIdMiddleware:
    """Both ways: under ASGI the event loop stays free, under WSGI none is needed."""

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
        id_ = _id_of(request)
        with answering(request, id_):
            response = self._get_response(request)
        assert isinstance(response, HttpResponseBase)
        return _named(response, id_)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        id_ = _id_of(request)
        with answering(request, id_):
            response = self._get_response(request)
            assert not isinstance(response, HttpResponseBase)
            return _named(await response, id_)


def _id_of(request: HttpRequest) -> str:
    given = request.headers.get(HEADER, "")
    # Not as it comes: it goes into the log, the audit and the answer's headers.
    return given if _USABLE.fullmatch(given) else uuid4().hex


def _named(response: HttpResponseBase, id_: str) -> HttpResponseBase:
    response.headers[HEADER] = id_
    return response
