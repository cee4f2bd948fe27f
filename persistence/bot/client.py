"""Asks over HTTP how a fight ended: a look-up. Needs aiohttp, nothing of Telegram."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import aiohttp


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


class HttpResults:
    """`Results` over GET /api/combats/{id}/result.

    `timeout` seconds bound a question, connecting included. For one event loop, which
    also has to await `aclose`.
    """

    def __init__(self, base_url: str, token: str, timeout: float = 2.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self, session_id: UUID, char_id: int, language: str | None
    ) -> Answer:
        url = f"{self._base_url}/api/combats/{session_id}/result"
        params = {"char_id": str(char_id), "lang": language or ""}
        try:
            async with self._client().get(url, params=params) as response:
                body = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ResultsUnavailable(f"{type(error).__name__}: {error}") from error
        return _answer(response, body)

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
