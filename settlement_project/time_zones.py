"""Shows times in the time zone of whoever looks: the one that their browser names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.decorators import sync_and_async_middleware

COOKIE = "timezone"
"""Written by `time_zone.js` on every page; without it times are of TIME_ZONE."""

MAX_NAME = 64


@sync_and_async_middleware
def viewers_time_zone(
    get_response: Callable[
        [HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]
    ],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    async def answer_async(request: HttpRequest) -> HttpResponseBase:
        with timezone.override(zone_of(request)):
            response = get_response(request)
            assert not isinstance(response, HttpResponseBase)
            return await response

    def answer(request: HttpRequest) -> HttpResponseBase:
        with timezone.override(zone_of(request)):
            response = get_response(request)
            assert isinstance(response, HttpResponseBase)
            return response

    return answer_async if iscoroutinefunction(get_response) else answer


def zone_of(request: HttpRequest) -> ZoneInfo:
    """A name that is no zone's counts as none."""
    name = request.COOKIES.get(COOKIE, "")[:MAX_NAME]
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return timezone.get_default_timezone()
