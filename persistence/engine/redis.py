"""The engine's bounded way to Redis: a script runs within `timeout`, or it is told.

Usable from several threads and event loops, never blocking one of the latter.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from persistence.contract import redis_keys
from persistence.engine import connecting, scripts
from persistence.engine.calls import Call
from persistence.engine.scripts import Script


class NotAnswered(Exception):
    """Redis did not answer OK within the bound; whether it ran is not known."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Arguments of `lua/epoch.lua` that go along with a call, and what was known then.

    `number` is the highest one that the counter has given. `generation` counts the
    losses: what was executed in an older one may be lost.
    """

    counter: str
    number: int
    strict: bool
    generation: int
    at: float


class IdleConnections:
    """Connections that wait for the next call, the one used last on top.

    Beside the pool of redis-py, which looks at the socket before each command and keeps
    accounts of it: half of what a SET of 3 kB costs its caller. Thread-safe; a child of
    a fork begins with none.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._pid = os.getpid()
        self._waiting: deque[Any] = deque()

    def ask(self, *words: Any) -> Any:
        """The reply to one command.

        Where a connection turns out dead the others are no better: the next command
        gets a new one.
        """
        connection = self._taken()
        try:
            connection.send_command(*words)
            reply = connection.read_response()
        except redis.ResponseError:
            # An answer all the same: the connection is at the start of the next one.
            self._waiting.append(connection)
            raise
        except BaseException:
            connection.disconnect()
            self.close()
            raise
        self._waiting.append(connection)
        return reply

    def close(self) -> None:
        while self._waiting:
            self._waiting.pop().disconnect()

    def _taken(self) -> Any:
        # Two processes on one socket would read each other's answers.
        if self._pid != os.getpid():
            self._pid, self._waiting = os.getpid(), deque()
        try:
            return self._waiting.pop()
        except IndexError:
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
        # Asked for by name: left to the first command, one by way of Sentinels does not
        # ask these who the primary is.
        connection.connect()
        return connection


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
        self._client = connecting.client(
            url,
            socket_connect_timeout=timeout / 4,
            socket_timeout=timeout / 2,
            retry=Retry(NoBackoff(), 0),
        )
        self._idle = IdleConnections(self._client)
        self._async_clients: WeakKeyDictionary[
            asyncio.AbstractEventLoop, redis.asyncio.Redis
        ] = WeakKeyDictionary()

    def run(self, call: Call, asked: Asked | None = None) -> Any:
        """The script's reply. Raises NotAnswered."""
        started = time.monotonic()
        try:
            try:
                return self._once(call, asked)
            except redis.ConnectionError:
                # A pooled connection that the server closed long ago fails at once.
                if time.monotonic() - started > self._timeout / 4:
                    raise
                return self._once(call, asked)
        except redis.TimeoutError:
            raise self._too_late() from None
        except (redis.RedisError, OSError) as error:
            raise NotAnswered(_describe(error)) from error

    def run_all(self, calls: Sequence[Call], asked: Asked) -> list[Any]:
        """The replies to several calls, in one round trip.

        Raises NotAnswered where one of them has none.
        """
        try:
            return self._all(calls, asked)
        except redis.TimeoutError:
            raise self._too_late() from None
        except (redis.RedisError, OSError) as error:
            raise NotAnswered(_describe(error)) from error

    async def arun(self, call: Call, asked: Asked | None = None) -> Any:
        """The asynchronous twin of `run`."""
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._aonce(call, asked)
                except redis.ConnectionError:
                    return await self._aonce(call, asked)
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
            # The server counts the seconds; a frozen one is given up by this clock.
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
        self._idle.close()
        self._client.close()

    def _once(self, call: Call, asked: Asked | None) -> Any:
        script, words = _words(call, asked)
        try:
            return self._ask("evalsha", script.sha1, words, call)
        except NoScriptError:
            # A restarted server has forgotten it; EVAL teaches it anew.
            return self._ask("eval", script.source, words, call)

    async def _aonce(self, call: Call, asked: Asked | None) -> Any:
        script, words = _words(call, asked)
        try:
            return await self._aask("evalsha", script.sha1, words, call)
        except NoScriptError:
            return await self._aask("eval", script.source, words, call)

    def _all(self, calls: Sequence[Call], asked: Asked) -> list[Any]:
        worded = [_words(call, asked) for call in calls]
        is_waiting = self._replicas and any(call.promises for call in calls)
        sources = {script.source for script, _ in worded}
        with self._client.pipeline(transaction=False) as pipe:
            # A Redis that has forgotten may have forgotten the scripts, too.
            for source in sources:
                pipe.script_load(source)
            for script, words in worded:
                pipe.evalsha(script.sha1, *words)
            if is_waiting:
                pipe.wait(self._replicas, self._wait_ms())
            replies = pipe.execute()[len(sources) :]
        if is_waiting:
            *replies, reached = replies
            self._if_reached(replies, reached)
        return replies

    def _ask(self, command: str, text: str, words: tuple[Any, ...], call: Call) -> Any:
        if not (self._replicas and call.promises):
            return self._idle.ask(command, text, *words)
        with self._client.pipeline(transaction=False) as pipe:
            getattr(pipe, command)(text, *words)
            pipe.wait(self._replicas, self._wait_ms())
            return self._if_reached(*pipe.execute())

    async def _aask(
        self, command: str, text: str, words: tuple[Any, ...], call: Call
    ) -> Any:
        client = self._async_client()
        if not (self._replicas and call.promises):
            return await getattr(client, command)(text, *words)
        async with client.pipeline(transaction=False) as pipe:
            getattr(pipe, command)(text, *words)
            pipe.wait(self._replicas, self._wait_ms())
            return self._if_reached(*await pipe.execute())

    def _if_reached(self, reply: Any, reached: int) -> Any:
        """WAIT counts those that have all that was written before it, by anybody: also
        of a script that found its work done, by a call that no replica had heard of."""
        if reached < self._replicas:
            raise NotAnswered(f"{reached} of {self._replicas} replicas have it")
        return reply

    def _wait_ms(self) -> int:
        return round(self._timeout * 1000 / 4)

    def _async_client(self) -> redis.asyncio.Redis:
        """This event loop's own connections."""
        loop = asyncio.get_running_loop()
        # A connection is bound to the loop it was opened on: one that is gone takes
        # its own along.
        client = self._async_clients.get(loop)
        if client is None:
            client = connecting.async_client(
                self._url,
                socket_connect_timeout=self._timeout,
                socket_timeout=self._timeout,
                retry=AsyncRetry(NoBackoff(), 0),
            )
            self._async_clients[loop] = client
        return client

    def _too_late(self) -> NotAnswered:
        return NotAnswered(f"Redis did not answer in time (bound {self._timeout} s)")


def _words(call: Call, asked: Asked | None) -> tuple[Script, tuple[Any, ...]]:
    if asked is None:
        return scripts.script(call.script), (len(call.keys), *call.keys, *call.args)
    keys = (*call.keys, redis_keys.EPOCH, asked.counter)
    told = (asked.number, redis_keys.ENGINE_TTL_SECONDS, int(asked.strict))
    return scripts.counted(call.script), (len(keys), *keys, *call.args, *told)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
