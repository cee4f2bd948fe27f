"""Reads events as one consumer of a group: at least once, for as long as it is asked.

What is asked of Redis and what is made of the answers is one generator, the same for
both kinds of callers: it yields commands, pauses and events, and is sent the answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio
from pydantic import ValidationError
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from persistence.contract import redis_keys
from persistence.contract.events import Event
from persistence.engine import connecting

logger = logging.getLogger(__name__)

AT_ONCE = 10
"""Entries taken together: few, as the last one waits for the bodies of all."""

BLOCK_SECONDS = 1.0
"""How long the server waits for something new before it answers."""

PAUSES = (0.1, 0.5, 2.0)
"""Seconds before a command is tried again; the last one from then on."""

OWN, NEW = "0", ">"
"""What this consumer was given before and has not acknowledged; what nobody was."""


@dataclass(frozen=True, slots=True)
class Command:
    """By its method in redis-py. Answered by the reply, or by the error."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Reading = Generator[Command | Pause | Event, Any, None]
Asking = Generator[Command | Pause | Event, Any, Any]


@dataclass(slots=True)
class _Consumer:
    group: str
    name: str
    reclaim_seconds: float
    is_behind: bool = True
    """Something may have been given to it that it has not heard of."""

    def ask(self, command: Command) -> Asking:
        """The reply, however long Redis is away. A group that is gone is made anew."""
        tries = 0
        while True:
            reply = yield command
            if not isinstance(reply, Exception):
                return reply
            self.is_behind = True
            if isinstance(reply, redis.exceptions.NoPermissionError):
                raise reply
            if isinstance(reply, redis.ResponseError) and "NOGROUP" in str(reply):
                yield from self.begin()
                continue
            logger.warning("events not read, again soon: %s", reply)
            yield Pause(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1

    def begin(self) -> Asking:
        """Make the group, from the first event that the stream still has."""
        made = Command("xgroup_create", (redis_keys.EVENTS, self.group, "0", True))
        reply = yield made
        if isinstance(reply, redis.ResponseError) and "BUSYGROUP" not in str(reply):
            raise reply
        # Where Redis is away, whoever reads finds no group, and comes back here.

    def read(self) -> Asking:
        source = OWN if self.is_behind else NEW
        self.is_behind = False
        block = int(BLOCK_SECONDS * 1000)
        streams = {redis_keys.EVENTS: source}
        arguments = (self.group, self.name, streams, AT_ONCE, block)
        reply = yield from self.ask(Command("xreadgroup", arguments))
        entries = [entry for _, found in reply for entry in found]
        # There may be more of them.
        self.is_behind = self.is_behind or (source == OWN and bool(entries))
        return entries

    def reclaim(self, cursor: Any) -> Asking:
        """Entries of consumers that have not acknowledged them for long; the cursor."""
        idle = int(self.reclaim_seconds * 1000)
        arguments = (redis_keys.EVENTS, self.group, self.name, idle, cursor, AT_ONCE)
        reply = yield from self.ask(Command("xautoclaim", arguments))
        return reply[0], [entry for entry in reply[1] if entry[0] is not None]

    def acknowledge(self, entry_id: Any) -> Asking:
        yield from self.ask(Command("xack", (redis_keys.EVENTS, self.group, entry_id)))


def reading(group: str, consumer: str, reclaim_seconds: float) -> Reading:
    """Never ends by itself. An event is acknowledged when the step after it is asked
    for: a body that raises, or is left, leaves it to be told again."""
    this = _Consumer(group, consumer, reclaim_seconds)
    yield from this.begin()
    cursor: Any = "0-0"
    look_at = time.monotonic()
    while True:
        if time.monotonic() >= look_at:
            cursor, entries = yield from this.reclaim(cursor)
            look_at = time.monotonic() + (0 if entries else reclaim_seconds / 2)
        else:
            entries = yield from this.read()
        for entry_id, fields in entries:
            event = _event(entry_id, fields)
            if event is not None:
                yield event
            yield from this.acknowledge(entry_id)


def _event(entry_id: Any, fields: Any) -> Event | None:
    """None of an entry that the stream has dropped meanwhile, or that is no event."""
    try:
        return Event.model_validate_json(fields[b"event"]) if fields else None
    except (KeyError, ValidationError):
        logger.exception("an entry that is no event: %s", entry_id)
        return None


class Feed:
    """Runs readings, each over a connection of its own; `timeout` bounds each answer
    beyond the time that the server is asked to wait."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._options: dict[str, Any] = {
            "socket_connect_timeout": timeout,
            "socket_timeout": timeout + BLOCK_SECONDS,
            "protocol": 2,
        }

    def run(self, steps: Reading) -> Generator[Event, None, None]:
        client = connecting.client(
            self._url, retry=Retry(NoBackoff(), 0), **self._options
        )
        answer: object = None
        try:
            while True:
                step = steps.send(answer)
                answer = None
                if isinstance(step, Event):
                    yield step
                elif isinstance(step, Pause):
                    time.sleep(step.seconds)
                else:
                    try:
                        answer = getattr(client, step.name)(*step.arguments)
                    except (redis.RedisError, OSError) as error:
                        answer = error
        finally:
            client.close()

    async def arun(self, steps: Reading) -> AsyncGenerator[Event, None]:
        """The asynchronous twin of `run`."""
        client = connecting.async_client(
            self._url, retry=AsyncRetry(NoBackoff(), 0), **self._options
        )
        answer: object = None
        try:
            while True:
                step = steps.send(answer)
                answer = None
                if isinstance(step, Event):
                    yield step
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                else:
                    try:
                        answer = await getattr(client, step.name)(*step.arguments)
                    except (redis.RedisError, OSError) as error:
                        answer = error
        finally:
            await client.aclose()
