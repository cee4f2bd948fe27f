"""Asks over HTTP how a fight ended, and what became true since. Needs aiohttp and
pydantic, nothing of Telegram."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

import aiohttp
from pydantic import BaseModel, ValidationError

from persistence.contract.events import Event

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between two questions for events, where there was nothing more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a fight for one player. The texts are plain, without markup."""

    state: Literal["active", "finished", "unknown"]
    short: str
    """At most 200 characters."""
    long: str
    """At most 4096."""
    language: str = "en"
    is_final: bool = False
    """Whether nothing but an admin's undo can change it."""


class ResultsUnavailable(Exception):
    """The outcome of the fight cannot be found out now."""


Results = Callable[[UUID, int, str | None], Awaitable[Answer]]
"""Session id, character id, the user's language. Raises ResultsUnavailable."""


class _Http:
    """`timeout` seconds bound a question, connecting included. For one event loop,
    which also has to await `aclose`.
    """

    def __init__(self, base_url: str, token: str, timeout: float = 2.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def _get(
        self, path: str, params: Mapping[str, str]
    ) -> tuple[aiohttp.ClientResponse, Any]:
        """The answer and its body. Raises ResultsUnavailable."""
        url = f"{self._base_url}{path}"
        try:
            async with self._client().get(url, params=params) as response:
                return response, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ResultsUnavailable(f"{type(error).__name__}: {error}") from error

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        # Not in __init__: aiohttp wants the running event loop.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers, timeout=self._timeout
            )
        return self._session


class HttpResults(_Http):
    """`Results` over GET /api/combats/{id}/result."""

    async def __call__(
        self, session_id: UUID, char_id: int, language: str | None
    ) -> Answer:
        params = {"char_id": str(char_id), "lang": language or ""}
        return _answer(*await self._get(f"/api/combats/{session_id}/result", params))


class HttpEvents(_Http):
    """Events over GET /api/events, for ever: `async for event in HttpEvents(…)`.

    Those that come after the first question, each once, in the order of their ids. The
    token may `events:read`. Waits out an API that is away.
    """

    async def __aiter__(self) -> AsyncIterator[Event]:
        after = None
        while True:
            try:
                page = await self._page(after)
            except (ResultsUnavailable, ValidationError) as error:
                logger.warning("no events, again soon: %s", error)
                await asyncio.sleep(POLL_SECONDS)
                continue
            if after is None:
                after = page.horizon
                continue
            for event in page.items:
                yield event
                after = event.id
            if page.next is None:
                await asyncio.sleep(POLL_SECONDS)

    async def _page(self, after: int | None) -> _Page:
        params = {"limit": "1"} if after is None else {"after": str(after)}
        response, body = await self._get("/api/events", params)
        if response.status != HTTPStatus.OK:
            raise ResultsUnavailable(f"{response.status}: {body}")
        return _Page.model_validate(body)


class _Page(BaseModel):
    items: list[Event]
    next: str | None
    horizon: int


def _answer(response: aiohttp.ClientResponse, body: Any) -> Answer:
    match response.status, body:
        case 200, {
            "state": ("active" | "finished") as state,
            "credit": credit,
            "text": {"short": str(short), "long": str(long)},
        }:
            language = response.headers.get("Content-Language", "en")
            is_final = credit in ("credited", "cancelled", "reversed")
            return Answer(state, short, long, language, is_final)
        # By its code: a 404 of a wrong address must not remove anybody's buttons.
        case 404, {
            "code": "unknown_combat",
            "text": {"short": str(short), "long": str(long)},
        }:
            return Answer("unknown", short, long)
        case status, {"code": code}:
            raise ResultsUnavailable(f"{status} {code}")
        case status, _:
            raise ResultsUnavailable(f"{status}, and no answer of the API's")
