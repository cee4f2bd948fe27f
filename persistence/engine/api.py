"""The engine's way to PostgreSQL: the HTTP API, by the standard library alone.

An operation has its `op_id`: whatever happens to a call, the same one again is
harmless, and tells what came of it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Protocol
from urllib.parse import urlsplit

from pydantic import ValidationError

from persistence.contract.changes import Changes
from persistence.contract.document import Document
from persistence.contract.errors import (
    OperationConflict,
    OperationRefused,
    OperationUnanswered,
    PayloadInvalid,
)
from persistence.contract.operate import Operation, OperationAnswer

AT_ONCE = 16
"""Calls on their way at a time; further ones wait for their turn."""


def operation(
    op_id: str, changes: Mapping[int, Changes | Document], reason: str
) -> Operation:
    """Raises PayloadInvalid with one entry per fault."""
    characters = {str(id_): _document(asked) for id_, asked in changes.items()}
    return Operation.read({"op_id": op_id, "reason": reason, "characters": characters})


class Operates(Protocol):
    """Applies operations of the game, and says what became of them."""

    async def operate(self, asked: Operation) -> OperationAnswer: ...

    def operate_sync(self, asked: Operation) -> OperationAnswer: ...

    def close(self) -> None: ...


class Api:
    """For several threads and event loops; connections stay open between calls.

    `timeout` seconds bound a call, whatever the server does.
    """

    def __init__(self, base_url: str, token: str, timeout: float) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of the API begins with http:// or https://")
        self._is_https = parts.scheme == "https"
        self._host = parts.netloc.rpartition("@")[2]
        self._path = parts.path.rstrip("/") + "/api/operations"
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        }
        self._timeout = timeout
        self._idle: deque[HTTPConnection] = deque()
        self._threads = _threads()

    @classmethod
    def from_env(cls, timeout: float) -> Api | None:
        """None where the engine's side is told of no API."""
        # Address of the HTTP API, such as https://game.example: `operate` needs it.
        base_url = os.environ.get("SETTLEMENT_API_URL")
        # Token of the HTTP API with the scope operations:write.
        token = os.environ.get("SETTLEMENT_API_TOKEN")
        return cls(base_url, token, timeout) if base_url and token else None

    async def operate(self, asked: Operation) -> OperationAnswer:
        """Raises OperationRefused, OperationConflict or OperationUnanswered."""
        answer = asyncio.wrap_future(self._sent(asked))
        try:
            return await asyncio.wait_for(answer, self._timeout)
        except TimeoutError:
            raise _late(asked) from None

    def operate_sync(self, asked: Operation) -> OperationAnswer:
        """The synchronous twin of `operate`."""
        try:
            return self._sent(asked).result(self._timeout)
        except TimeoutError:
            raise _late(asked) from None

    def close(self) -> None:
        """Calls that are on their way end within the bound; later ones begin anew."""
        threads, self._threads = self._threads, _threads()
        threads.shutdown()
        while self._idle:
            self._idle.pop().close()

    def _sent(self, asked: Operation) -> Future[OperationAnswer]:
        return self._threads.submit(self._ask, asked)

    def _ask(self, asked: Operation) -> OperationAnswer:
        try:
            status, body = self._exchange(asked.text)
        except (OSError, HTTPException, ValueError) as error:
            detail = f"{type(error).__name__}: {error}"
            raise OperationUnanswered(asked.op_id, detail) from error
        return _read(asked.op_id, status, body)

    def _exchange(self, body: bytes) -> tuple[int, Any]:
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._send(self._connect(), body)
        try:
            return self._send(kept, body)
        except (OSError, HTTPException):
            # The server may have closed it meanwhile: once more, which is harmless.
            return self._send(self._connect(), body)

    def _send(self, connection: HTTPConnection, body: bytes) -> tuple[int, Any]:
        try:
            connection.request("POST", self._path, body, self._headers)
            response = connection.getresponse()
            told = json.loads(response.read())
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return response.status, told

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._is_https else HTTPConnection
        return kind(self._host, timeout=self._timeout)


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, "operate")


def _document(asked: Changes | Document) -> Document:
    if isinstance(asked, Changes):
        return asked.model_dump(mode="json", exclude_unset=True)
    return asked


def _late(asked: Operation) -> OperationUnanswered:
    return OperationUnanswered(asked.op_id, "no answer in time")


def _read(op_id: str, status: int, body: Any) -> OperationAnswer:
    """By the code, too: a 409 may be some other server's."""
    match status, body:
        case 200, dict():
            try:
                return OperationAnswer.model_validate(body)
            except ValidationError:
                raise OperationUnanswered(op_id, "200, but no answer of ours") from None
        case 409, {"code": "operation_conflict"}:
            raise OperationConflict(op_id)
        case 409, {"code": str(code), "detail": str(detail)}:
            raise OperationRefused(op_id, code, detail, body.get("shortages") or [])
        case 413 | 422, {"code": str(code), "detail": str(detail)}:
            faults = body.get("errors") or [{"path": "", "message": detail}]
            raise PayloadInvalid(code, faults)
        case _, {"code": str(code)}:
            raise OperationUnanswered(op_id, f"{status} {code}")
    raise OperationUnanswered(op_id, f"{status}, and no answer of the API's")
