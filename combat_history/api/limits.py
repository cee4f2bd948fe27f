"""Limits how many unknown fights may be asked for in a minute, for one player.

Guessing ids is slowed and PostgreSQL is spared. Counted by caller and character: one
player's forged buttons silence neither the bot nor other players. What Redis can answer
is answered all the same; without Redis nothing is counted and nobody is refused.
"""

from __future__ import annotations

import logging
import math
import time
from http import HTTPStatus
from typing import cast
from uuid import UUID

import redis
from django.conf import settings

from combat_history.api.problems import Problem
from combat_history.callers import Caller
from combat_history.reading import redis_clients
from persistence.contract import redis_keys

logger = logging.getLogger(__name__)

Entries = list[tuple[bytes, float]]
"""Unknown ids of the last minute and when each was asked for first."""


class UnknownLimit:
    """The limit of a caller on unknown ids for one character, as one request sees it.

    A Redis that did not answer the request once is not asked again.
    """

    def __init__(self, caller: Caller, char_id: int) -> None:
        self._key = redis_keys.unknown_asked(caller.key, char_id)
        self._is_counting = True

    async def refuse_over(self, redis_answered: bool) -> None:
        """Raises a 429 problem where the caller has used up the last minute."""
        self._is_counting = redis_answered
        if not self._is_counting:
            return
        now = time.time()
        try:
            found = await redis_clients.async_client().zrangebyscore(
                self._key,
                now - redis_keys.UNKNOWN_WINDOW_SECONDS,
                "+inf",
                withscores=True,
            )
        except redis.RedisError:
            self._stop_counting()
            return
        allowed = settings.SETTLEMENT_API_UNKNOWN_PER_MINUTE - 1
        _refuse_beyond(allowed, cast("Entries", found), now)

    async def count(self, session_id: UUID) -> None:
        """Note one unknown id; raises a 429 problem for one too many.

        The same id counts once: who mashes one dead button is no guesser.
        """
        if not self._is_counting:
            return
        now = time.time()
        window = redis_keys.UNKNOWN_WINDOW_SECONDS
        client = redis_clients.async_client()
        try:
            # A transaction: of two requests at once the later one sees both ids.
            async with client.pipeline(transaction=True) as pipeline:
                pipeline.zremrangebyscore(self._key, "-inf", now - window)
                pipeline.zadd(self._key, {str(session_id): now}, nx=True)
                pipeline.expire(self._key, window)
                pipeline.zrange(self._key, 0, -1, withscores=True)
                entries: Entries = (await pipeline.execute())[-1]
        except redis.RedisError:
            self._stop_counting()
            return
        _refuse_beyond(settings.SETTLEMENT_API_UNKNOWN_PER_MINUTE, entries, now)

    def _stop_counting(self) -> None:
        logger.warning("unknown fights are not counted", exc_info=True)
        self._is_counting = False


def _refuse_beyond(allowed: int, entries: Entries, now: float) -> None:
    if len(entries) <= allowed:
        return
    # Room comes when the oldest of the newest `allowed` + 1 leaves the window.
    leaves_at = entries[-allowed - 1][1] + redis_keys.UNKNOWN_WINDOW_SECONDS
    raise Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_unknown",
        f"more than {settings.SETTLEMENT_API_UNKNOWN_PER_MINUTE} unknown combats "
        "in a minute",
        headers={"Retry-After": str(max(1, math.ceil(leaves_at - now)))},
    )
