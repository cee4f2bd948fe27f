"""Says to browsers what a page may load and do: our own files, no inline script.

An escaped text that somebody unescapes by mistake is then still no script.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


@sync_and_async_middleware
def content_policy(
    get_response: Callable[
        [HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]
    ],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    async def answer_async(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        assert not isinstance(response, HttpResponseBase)
        return _with_policy(await response)

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        assert isinstance(response, HttpResponseBase)
        return _with_policy(response)

    return answer_async if iscoroutinefunction(get_response) else answer


def _with_policy(response: HttpResponseBase) -> HttpResponseBase:
    response.headers["Content-Security-Policy"] = POLICY
    return response
