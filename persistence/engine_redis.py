"""The engine's bounded way to Redis: a script runs within `timeout`, or it is told.

Usable from several threads and event loops, never blocking one of the latter.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from persistence.scripts import script


class NotAnswered(Exception):
    """Redis did not answer OK within the bound; whether it ran is not known."""


class EngineRedis:
    """Runs the Lua scripts by name; `timeout` includes connecting and one reconnect.

    `replicas`: how many of them must have what a script wrote before it counts as
    answered, unless it is one that promises nothing.
    """

    def __init__(self, url: str, timeout: float, replicas: int = 0) -> None:
        self._url = url
        self._timeout = timeout
        self._replicas = replicas
        # A quarter to find a stale connection dead, a quarter to connect again, half
        # for the answer: together never more than `timeout`.
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=timeout / 4,
            socket_timeout=timeout / 2,
            retry=Retry(NoBackoff(), 0),
        )
        self._async_clients: WeakKeyDictionary[
            asyncio.AbstractEventLoop, redis.asyncio.Redis
        ] = WeakKeyDictionary()

    def run(
        self, name: str, keys: list[str], args: list[Any], *, replicated: bool = True
    ) -> Any:
        """The script's reply. Raises NotAnswered."""
        started = time.monotonic()
        wanted = self._replicas if replicated else 0
        try:
            try:
                return self._once(name, keys, args, wanted)
            except redis.ConnectionError:
                # A pooled connection that the server closed long ago fails at once.
                if time.monotonic() - started > self._timeout / 4:
                    raise
                return self._once(name, keys, args, wanted)
        except redis.TimeoutError:
            raise self._too_late() from None
        except (redis.RedisError, OSError) as error:
            raise NotAnswered(_describe(error)) from error

    async def arun(
        self, name: str, keys: list[str], args: list[Any], *, replicated: bool = True
    ) -> Any:
        """The asynchronous twin of `run`."""
        wanted = self._replicas if replicated else 0
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._aonce(name, keys, args, wanted)
                except redis.ConnectionError:
                    return await self._aonce(name, keys, args, wanted)
        except (TimeoutError, redis.TimeoutError):
            raise self._too_late() from None
        except (redis.RedisError, OSError) as error:
            raise NotAnswered(_describe(error)) from error

    def wait_for(self, key: str, seconds: float) -> bool:
        """Whether something was pushed to the list `key` meanwhile."""
        try:
            return bool(self._client.blpop([key], timeout=seconds))
        except (redis.RedisError, OSError):
            return False

    async def await_for(self, key: str, seconds: float) -> bool:
        """The asynchronous twin of `wait_for`."""
        try:
            async with asyncio.timeout(seconds * 2):
                found = self._async_client().blpop([key], timeout=seconds)
                return bool(await found)
        except (TimeoutError, redis.RedisError, OSError):
            return False

    async def aclose(self) -> None:
        """Close what this event loop used."""
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def close(self) -> None:
        self._client.close()

    def _once(self, name: str, keys: list[str], args: list[Any], wanted: int) -> Any:
        call = (len(keys), *keys, *args)
        try:
            return self._ask("evalsha", script(name).sha1, call, wanted)
        except NoScriptError:
            return self._ask("eval", script(name).source, call, wanted)

    async def _aonce(
        self, name: str, keys: list[str], args: list[Any], wanted: int
    ) -> Any:
        call = (len(keys), *keys, *args)
        try:
            return await self._aask("evalsha", script(name).sha1, call, wanted)
        except NoScriptError:
            return await self._aask("eval", script(name).source, call, wanted)

    def _ask(self, command: str, text: str, call: tuple[Any, ...], wanted: int) -> Any:
        if not wanted:
            return getattr(self._client, command)(text, *call)
        with self._client.pipeline(transaction=False) as pipe:
            getattr(pipe, command)(text, *call)
            pipe.wait(wanted, self._wait_ms())
            return _if_reached(wanted, *pipe.execute())

    async def _aask(
        self, command: str, text: str, call: tuple[Any, ...], wanted: int
    ) -> Any:
        client = self._async_client()
        if not wanted:
            return await getattr(client, command)(text, *call)
        async with client.pipeline(transaction=False) as pipe:
            getattr(pipe, command)(text, *call)
            pipe.wait(wanted, self._wait_ms())
            return _if_reached(wanted, *await pipe.execute())

    def _wait_ms(self) -> int:
        return round(self._timeout * 1000 / 4)

    def _async_client(self) -> redis.asyncio.Redis:
        """This event loop's own connections."""
        loop = asyncio.get_running_loop()
        client = self._async_clients.get(loop)
        if client is None:
            client = redis.asyncio.Redis.from_url(
                self._url,
                socket_connect_timeout=self._timeout,
                socket_timeout=self._timeout,
                retry=AsyncRetry(NoBackoff(), 0),
            )
            self._async_clients[loop] = client
        return client

    def _too_late(self) -> NotAnswered:
        return NotAnswered(f"Redis did not answer in time (bound {self._timeout} s)")


def _if_reached(wanted: int, reply: Any, reached: int) -> Any:
    """WAIT counts those that have all that was written before it, by anybody: also of a
    script that found its work done already, by a call that no replica had heard of."""
    if reached < wanted:
        raise NotAnswered(f"{reached} of {wanted} replicas have it")
    return reply


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
