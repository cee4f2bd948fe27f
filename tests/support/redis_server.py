"""A Redis of a test's own, with the options it asks for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from pytest_django import Settings

from devservers.ports import HOST
from devservers.redis import binary
from persistence.worker import inbox
from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.waiting import wait_until


@contextmanager
def running_redis(
    folder: Path,
    *,
    port: int | None = None,
    appendonly: str = "yes",
    policy: str = "noeviction",
) -> Iterator[str]:
    """Its URL, for the length of a block."""
    port = port or free_port()
    options = {
        "--bind": HOST,
        "--port": str(port),
        "--dir": str(folder),
        "--save": "",
        "--appendonly": appendonly,
        "--maxmemory-policy": policy,
    }
    words = [word for option in options.items() for word in option]
    server = subprocess.Popen(mortal(str(binary()), *words), stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(HOST, port) as client:
            wait_until(lambda: _answers(client), "Redis answers")
        yield f"redis://{HOST}:{port}/0"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def redis_away(settings: Settings) -> Iterator[None]:
    """Nobody listens where workers and the admin look for Redis."""
    known = settings.REDIS_URL
    settings.REDIS_URL = f"redis://{HOST}:{free_port()}/0"
    _forget_clients()
    yield
    settings.REDIS_URL = known
    _forget_clients()


def _forget_clients() -> None:
    inbox.client.cache_clear()
    inbox.script.cache_clear()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
