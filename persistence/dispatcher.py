"""SyncDispatcher: the engine's one door. No Django, no blocking of the event loop.

A result is accepted when `submit_combat` returns. Until then it is the engine's: on
HandoffFailed it submits the same document again, which is harmless.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, cast
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.retry import Retry

from persistence import scripts
from persistence.document import MAX_DOCUMENT_BYTES, Document
from persistence.doorbell import Doorbell
from persistence.errors import HandoffFailed, PayloadConflict
from persistence.handoff import Handoff, Receipt, answer, checked
from persistence.payload import (
    CombatResultPayload,
)

DEFAULT_TIMEOUT_SECONDS = 2.0
MAX_TIMEOUT_SECONDS = 10.0

Payload = CombatResultPayload | Document | str | bytes


class SyncDispatcher:
    """Hands finished combats over, asynchronously or from synchronous code.

    `timeout` bounds every call, connecting and one reconnect included. Usable from
    several threads and event loops.
    """

    def __init__(
        self,
        redis_url: str,
        broker_url: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> None:
        if not 0 < timeout <= MAX_TIMEOUT_SECONDS:
            raise ValueError(
                f"timeout must be above 0 and at most {MAX_TIMEOUT_SECONDS}"
            )
        self._redis_url = redis_url
        self._timeout = timeout
        self._max_document_bytes = max_document_bytes
        self._doorbell = Doorbell(broker_url or redis_url)
        # A quarter to find a stale connection dead, a quarter to connect again, half
        # for the answer: together never more than `timeout`.
        self._client = redis.Redis.from_url(
            redis_url,
            socket_connect_timeout=timeout / 4,
            socket_timeout=timeout / 2,
            retry=Retry(NoBackoff(), 0),
        )
        self._handoff = self._client.register_script(scripts.source("handoff"))
        self._async_handoffs: WeakKeyDictionary[
            asyncio.AbstractEventLoop, AsyncScript
        ] = WeakKeyDictionary()

    @classmethod
    def from_env(cls) -> SyncDispatcher:
        """From REDIS_URL, CELERY_BROKER_URL and SETTLEMENT_SUBMIT_TIMEOUT_SECONDS."""
        redis_url = os.environ.get("REDIS_URL")
        if not redis_url:
            raise ValueError("REDIS_URL is not set: it names the Redis of the combats")
        timeout = os.environ.get("SETTLEMENT_SUBMIT_TIMEOUT_SECONDS")
        return cls(
            redis_url,
            os.environ.get("CELERY_BROKER_URL"),
            timeout=float(timeout) if timeout else DEFAULT_TIMEOUT_SECONDS,
        )

    async def submit_combat(self, payload: Payload) -> Receipt:
        """Hand over the result of a finished combat: one Redis round trip.

        Returns ACCEPTED, or DUPLICATE for the same document again. Raises
        PayloadInvalid (nothing recorded), PayloadConflict (another document stands;
        this one is kept for review) or HandoffFailed (not accepted: submit again).
        """
        handoff = checked(payload, self._max_document_bytes)
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._run_async(handoff)
        except TimeoutError:
            raise self._unanswered(handoff) from None
        except (redis.RedisError, OSError) as error:
            raise HandoffFailed(str(handoff.session_id), _describe(error)) from error
        return self._receipt(handoff, reply)

    def submit_combat_sync(self, payload: Payload) -> Receipt:
        """The synchronous twin of `submit_combat`."""
        handoff = checked(payload, self._max_document_bytes)
        started = time.monotonic()
        try:
            reply = self._run(handoff, started)
        except redis.TimeoutError:
            raise self._unanswered(handoff) from None
        except (redis.RedisError, OSError) as error:
            raise HandoffFailed(str(handoff.session_id), _describe(error)) from error
        return self._receipt(handoff, reply)

    async def aclose(self) -> None:
        """Close what this event loop used, and the ring."""
        script = self._async_handoffs.pop(asyncio.get_running_loop(), None)
        if script is not None:
            await cast("redis.asyncio.Redis", script.registered_client).aclose()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        self._doorbell.close(self._timeout)
        self._client.close()

    def _run(self, handoff: Handoff, started: float) -> Any:
        try:
            return self._handoff(keys=handoff.keys, args=handoff.args)
        except redis.ConnectionError:
            # A pooled connection that the server closed long ago fails at once.
            if time.monotonic() - started > self._timeout / 4:
                raise
            return self._handoff(keys=handoff.keys, args=handoff.args)

    async def _run_async(self, handoff: Handoff) -> Any:
        script = self._async_handoff()
        try:
            return await script(keys=handoff.keys, args=handoff.args)
        except redis.ConnectionError:
            return await script(keys=handoff.keys, args=handoff.args)

    def _async_handoff(self) -> AsyncScript:
        """The script over this event loop's own connections."""
        loop = asyncio.get_running_loop()
        script = self._async_handoffs.get(loop)
        if script is None:
            client = redis.asyncio.Redis.from_url(
                self._redis_url,
                socket_connect_timeout=self._timeout,
                socket_timeout=self._timeout,
                retry=AsyncRetry(NoBackoff(), 0),
            )
            script = client.register_script(scripts.source("handoff"))
            self._async_handoffs[loop] = script
        return script

    def _receipt(self, handoff: Handoff, reply: Any) -> Receipt:
        receipt, to_ring = answer(reply)
        if to_ring:
            self._doorbell.press()
        if receipt is Receipt.CONFLICT:
            raise PayloadConflict(str(handoff.session_id))
        return receipt

    def _unanswered(self, handoff: Handoff) -> HandoffFailed:
        return HandoffFailed(
            str(handoff.session_id),
            f"Redis did not answer in time (bound {self._timeout} s)",
        )


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
