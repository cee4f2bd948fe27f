"""What a body may cost before Django sees it: bytes, seconds, how many at once.

Django's ASGI handler reads a whole body before it asks any view; what a view refuses
has been paid for by then. So a body is read here, after its sender's token and that
token's scopes, or his session: behind the gate it is whole. Requests without a body
pass. Who has neither may send one body, the sign-in, which makes room for the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import import_module
from io import BytesIO
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.views import redirect_to_login
from django.core.handlers.asgi import ASGIRequest
from django.db import Error, connection
from django.http import HttpResponse
from django.urls import resolve

from combat_history.api.auth import admit
from combat_history.api.problems import Problem, unavailable
from persistence.contract.errors import FailureCode
from persistence.worker.transactions import renew_connection

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = "/api/openapi.json"
"""The one address of the API that asks for no token, and so takes no body."""

SIGN_IN = "/admin/login/"
SIGN_IN_BYTES = 16 * 1024


@dataclass(slots=True)
class Lane:
    """Bodies of one part of the site. `at_once`: being read or worked on.

    `makes_room`: the body that has been coming for longest is given up for a new one,
    so that whoever sends his slowly keeps nobody out.
    """

    max_bytes: int
    at_once: int
    makes_room: bool = False
    taken: int = 0
    coming: list[asyncio.Timeout] = field(default_factory=list)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises a 503 problem where there is none."""
        if self.taken >= self.at_once and not (self.makes_room and self._give_one_up()):
            raise unavailable("too many bodies at once; send it again")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    @contextmanager
    def noted(self, deadline: asyncio.Timeout) -> Iterator[None]:
        self.coming.append(deadline)
        try:
            yield
        finally:
            self.coming.remove(deadline)

    def _give_one_up(self) -> bool:
        slow = next((one for one in self.coming if not one.expired()), None)
        if slow is not None:
            slow.reschedule(0)
        return slow is not None


class SignInFirst(Problem):
    """A person whose session has ended is led to where he can begin another."""

    def response(self) -> HttpResponse:
        return redirect_to_login(self.detail, SIGN_IN)


class Gate:
    def __init__(self, application: Application) -> None:
        self._application = application
        self._api = Lane(settings.SETTLEMENT_MAX_DOCUMENT_BYTES, at_once=100)
        self._admin = Lane(settings.DATA_UPLOAD_MAX_MEMORY_SIZE, at_once=20)
        self._sign_in = Lane(SIGN_IN_BYTES, at_once=20, makes_room=True)
        self._elsewhere = Lane(0, at_once=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._application(scope, receive, send)
            return
        try:
            lane = await self._lane(scope)
            with lane.place():
                await self._pass(scope, receive, send, lane)
        except Problem as problem:
            await _refuse(problem, send)

    async def _pass(
        self, scope: Scope, receive: Receive, send: Send, lane: Lane
    ) -> None:
        body = await _read(scope, receive, lane)
        if body is not None:
            await self._application(scope, _replay(body, receive), send)

    async def _lane(self, scope: Scope) -> Lane:
        """Where this sender's body goes. Raises the problem of who may send none."""
        path = scope["path"]
        if path.startswith("/api/") and path != OPEN:
            wanted = getattr(resolve(path).func, "scope", None)
            await admit(ASGIRequest(scope, BytesIO()), wanted)
            return self._api
        if path == SIGN_IN:
            return self._sign_in
        if path.startswith("/admin/"):
            await _admit_to_admin(ASGIRequest(scope, BytesIO()))
            return self._admin
        return self._elsewhere


async def _admit_to_admin(request: ASGIRequest) -> None:
    """Raises a problem for whoever has not signed in; Django judges what he may."""
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    ask = sync_to_async(_is_of_somebody, thread_sensitive=False)
    try:
        is_signed_in = await ask(key)
    except Error:
        raise unavailable("sessions cannot be read; send it again") from None
    if not is_signed_in:
        raise SignInFirst(HTTPStatus.FOUND, "sign_in_first", request.get_full_path())


def _is_of_somebody(session_key: str) -> bool:
    if not session_key:
        return False
    store = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    try:
        renew_connection()
        return SESSION_KEY in store.load()
    finally:
        connection.close()


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _has_body(scope: Scope) -> bool:
    length = _header(scope, b"content-length")
    return _header(scope, b"transfer-encoding") is not None or length not in (
        None,
        b"0",
    )


async def _read(scope: Scope, receive: Receive, lane: Lane) -> bytes | None:
    """The whole body; None where the client has gone. Raises 413 and 408 problems."""
    limit = lane.max_bytes
    if int(_header(scope, b"content-length") or 0) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, is_whole = 0, False
    try:
        async with asyncio.timeout(settings.SETTLEMENT_REQUEST_SECONDS) as deadline:
            with lane.noted(deadline):
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
        "the body did not come in time",
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
