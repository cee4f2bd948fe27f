"""What a body may cost before Django sees it: bytes, seconds, how many at once.

Django's ASGI handler reads a whole body before it asks any view; what a view refuses
has been paid for by then. So a body is read here, after its sender's token and that
token's scopes: behind the gate it is whole. Requests without a body pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.urls import resolve

from combat_history.api.auth import admit
from combat_history.api.problems import Problem, unavailable
from persistence.contract.errors import FailureCode

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = "/api/openapi.json"
"""The one address of the API that asks for no token."""


@dataclass(slots=True)
class Lane:
    """Bodies of one part of the site. `at_once`: being read or worked on."""

    max_bytes: int
    at_once: int
    taken: int = 0


class Gate:
    def __init__(self, application: Application) -> None:
        self._application = application
        self._api = Lane(settings.SETTLEMENT_MAX_DOCUMENT_BYTES, at_once=100)
        self._admin = Lane(settings.DATA_UPLOAD_MAX_MEMORY_SIZE, at_once=20)
        self._elsewhere = Lane(0, at_once=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._application(scope, receive, send)
            return
        lane = self._lane(scope["path"])
        if lane.taken >= lane.at_once:
            await _refuse(unavailable("too many bodies at once; send it again"), send)
            return
        lane.taken += 1
        try:
            await self._admit(scope, receive, send, lane)
        finally:
            lane.taken -= 1

    def _lane(self, path: str) -> Lane:
        if path.startswith("/api/"):
            return self._api
        return self._admin if path.startswith("/admin/") else self._elsewhere

    async def _admit(
        self, scope: Scope, receive: Receive, send: Send, lane: Lane
    ) -> None:
        try:
            if lane is self._api and scope["path"] != OPEN:
                wanted = getattr(resolve(scope["path"]).func, "scope", None)
                await admit(ASGIRequest(scope, BytesIO()), wanted)
            body = await _read(scope, receive, lane.max_bytes)
        except Problem as problem:
            await _refuse(problem, send)
            return
        if body is not None:
            await self._application(scope, _replay(body, receive), send)


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _has_body(scope: Scope) -> bool:
    length = _header(scope, b"content-length")
    return _header(scope, b"transfer-encoding") is not None or length not in (
        None,
        b"0",
    )


async def _read(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The whole body; None where the client has gone. Raises 413 and 408 problems."""
    if int(_header(scope, b"content-length") or 0) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, is_whole = 0, False
    try:
        async with asyncio.timeout(settings.SETTLEMENT_REQUEST_SECONDS):
            while not is_whole:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > limit:
                    raise _too_large(limit)
                is_whole = not message.get("more_body", False)
    except TimeoutError:
        raise _too_slow() from None
    return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, then what the server says: that the client has gone."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            whole = waiting.pop()
            return {"type": "http.request", "body": whole, "more_body": False}
        return await receive()

    return again


def _too_large(limit: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        str(FailureCode.TOO_LARGE),
        f"at most {limit} bytes",
    )


def _too_slow() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_TIMEOUT,
        "too_slow",
        f"the body was not here after {settings.SETTLEMENT_REQUEST_SECONDS} s",
    )


async def _refuse(problem: Problem, send: Send) -> None:
    response = problem.response()
    # What was not read would be read all the same, by a server that keeps the line.
    response["Connection"] = "close"
    headers = [
        (key.lower().encode("latin-1"), value.encode("latin-1"))
        for key, value in response.headers.items()
    ]
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": headers,
        }
    )
    await send({"type": "http.response.body", "body": response.content})
