"""Probes: /livez says that the process is alive, /readyz that it may have traffic."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from combat_history.reading import redis_clients

logger = logging.getLogger(__name__)

READY_WITHIN_SECONDS = 3
"""Below the usual probe's patience; a check that takes longer has failed."""


@never_cache
async def livez(request: HttpRequest) -> JsonResponse:
    """The event loop turns. Nothing else: a restart repairs no server."""
    return JsonResponse({"status": "ok"})


@never_cache
async def readyz(request: HttpRequest) -> JsonResponse:
    """503 where PostgreSQL or Redis does not answer, or a migration is missing."""
    names = list(_CHECKS)
    results = await asyncio.gather(*map(_check_result, names))
    is_ready = all(result == "ok" for result in results)
    return JsonResponse(
        {
            "status": "ok" if is_ready else "unavailable",
            "checks": dict(zip(names, results, strict=True)),
        },
        status=HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


async def _check_result(name: str) -> str:
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            await _CHECKS[name]()
    except Exception as error:
        logger.warning("not ready", extra={"check": name}, exc_info=True)
        # The kind only: addresses and names are for the log.
        return type(error).__name__
    return "ok"


async def _postgres() -> None:
    # A thread and a connection of its own: one that hangs holds up nobody else.
    await sync_to_async(_ask_postgres, thread_sensitive=False)()


def _ask_postgres() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


async def _redis() -> None:
    await redis_clients.async_client().ping()


async def _migrations() -> None:
    await sync_to_async(require_migrations, thread_sensitive=False)()


class MigrationsMissing(Exception):
    pass


@cache
def require_migrations() -> None:
    """Remembered once it holds: a process does not outlive its own migrations."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise MigrationsMissing
    finally:
        connection.close()


_CHECKS: dict[str, Callable[[], Awaitable[None]]] = {
    "postgres": _postgres,
    "redis": _redis,
    "migrations": _migrations,
}
