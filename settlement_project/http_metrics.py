"""What this web server has answered: how much, how fast, and with which status.

Counted in the process, which answers /metrics itself and is the only one of its
address; all other figures are read when they are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from prometheus_client import CollectorRegistry, Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REGISTRY = CollectorRegistry()

ANSWERS = Histogram(
    "settlement_http_request_seconds",
    "Until a request was answered, of this process.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=REGISTRY,
)


@sync_and_async_middleware
def timing(
    get_response: Callable[
        [HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]
    ],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    async def answer_async(request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = get_response(request)
        assert not isinstance(response, HttpResponseBase)
        return _observed(request, await response, began)

    def answer(request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = get_response(request)
        assert isinstance(response, HttpResponseBase)
        return _observed(request, response, began)

    return answer_async if iscoroutinefunction(get_response) else answer


def _observed(
    request: HttpRequest, response: HttpResponseBase, began: float
) -> HttpResponseBase:
    # What a client makes up (methods, paths) must not make a series each.
    method = request.method if request.method in METHODS else "other"
    match = request.resolver_match
    route = match.route if match is not None else "none"
    labels = (method, route, str(response.status_code))
    ANSWERS.labels(*labels).observe(time.perf_counter() - began)
    return response
