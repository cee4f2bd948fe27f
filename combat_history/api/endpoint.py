"""The frame of every view of the API: method, token, problems."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any

import psycopg
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel

from combat_history.api.auth import admit
from combat_history.api.problems import Problem, unavailable
from combat_history.callers import Scope
from persistence.worker.transience import transience

logger = logging.getLogger(__name__)

Handler = Callable[..., Awaitable[HttpResponseBase]]
View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]

GETS = ("GET", "HEAD")


def endpoint(method: str, scope: Scope) -> Callable[[Handler], View]:
    """A view for one method (HEAD comes with GET) and for tokens with that scope.

    The decorated function gets the caller after the request. A token in a
    header is nothing a browser adds by itself, hence no CSRF check.
    """
    allowed = GETS if method == "GET" else (method,)

    def decorate(handler: Handler) -> View:
        @csrf_exempt
        async def view(request: HttpRequest, **path: str) -> HttpResponseBase:
            try:
                if request.method not in allowed:
                    raise not_allowed(allowed)
                caller = await admit(request, scope)
                if method not in GETS:
                    said = {"caller": caller.name, "path": request.path}
                    logger.info("API call", extra=said)
                return await handler(request, caller, **path)
            except Problem as problem:
                return problem.response()
            except (Error, psycopg.Error) as error:
                return _database_problem(error)
            except Exception:
                logger.exception("API request failed", extra={"path": request.path})
                return _unexpected()

        # The gate asks for it, before there is a body to read.
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return decorate


def by_method(**views: View) -> View:
    """One address with a view for each method: by_method(GET=..., PUT=...)."""
    allowed = ("GET", "HEAD", *(name for name in views if name != "GET"))

    @csrf_exempt
    async def view(request: HttpRequest, **path: str) -> HttpResponseBase:
        method = "GET" if request.method == "HEAD" else request.method
        chosen = views.get(method or "")
        if chosen is None:
            return not_allowed(allowed).response()
        return await chosen(request, **path)

    # Of the one whose body the gate reads.
    (writing,) = (one for name, one in views.items() if name != "GET")
    view.scope = writing.scope  # type: ignore[attr-defined]
    return view


def json_response(
    body: BaseModel, status: HTTPStatus = HTTPStatus.OK, **headers: str
) -> HttpResponse:
    """`headers` by keyword: underscores stand for hyphens."""
    return HttpResponse(
        body.model_dump_json(),
        status=status,
        content_type="application/json",
        headers={
            "Cache-Control": "no-store",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )


def page_response(page: Any) -> HttpResponse:
    """With the next page's address in the header `Link`, too."""
    response = json_response(page)
    if page.next is not None:
        response["Link"] = f'<{page.next}>; rel="next"'
    return response


def not_allowed(allowed: tuple[str, ...]) -> Problem:
    return Problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "method_not_allowed",
        f"allowed: {', '.join(allowed)}",
        headers={"Allow": ", ".join(allowed)},
    )


def _database_problem(error: Exception) -> HttpResponse:
    logger.error("PostgreSQL did not serve a request", exc_info=error)
    if transience(error) is None:
        return _unexpected()
    return unavailable("the database did not answer; ask again").response()


def _unexpected() -> HttpResponse:
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected", "see the server's log"
    ).response()
