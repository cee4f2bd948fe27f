"""Runs the pair: starts both servers, heals them, leaves after the last user.

One supervisor per data directory: it inherited the supervisor lock, which nothing
here touches and which ends with this process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from devservers import identity, locks, postgres, redis
from devservers.server import Server
from devservers.state import State, last, published

# `migrate && runserver`: the next command asks for the pair within a second or so.
GRACE_SECONDS = 2.0
WATCH_SECONDS = 0.1  # how long a dead server goes unnoticed

logger = logging.getLogger(__name__)


def run(data_dir: Path, on_ready: Callable[[], None]) -> None:
    """Serve until nobody uses the pair. Both servers are stopped however this ends.

    Returns with the lease in hand, so newcomers wait for the end of this process
    instead of attaching to what it has stopped. Raises EmbeddedError when a server
    cannot be started, or not be restarted.
    """
    before = last(data_dir)
    # pg_config, since it looks for its own place as the servers do, and then ends.
    binaries = [postgres.binaries() / "pg_config", redis.binary()]
    logger.info("serving with %s and %s", binaries[0].parent, binaries[1])
    owner = identity.choose(data_dir, binaries)
    socket_dir = postgres.socket_directory(before.socket_dir if before else "", owner)
    database = Server(
        postgres.Postgres(data_dir, owner, socket_dir),
        before.postgres_port if before else None,
    )
    cache = Server(redis.Redis(data_dir, owner), before.redis_port if before else None)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, socket_dir)
        for server in (database, cache):
            stack.callback(server.stop)
            server.start()
        on_ready()
        _serve(data_dir, socket_dir, database, cache)


def _remove(socket_dir: Path) -> None:
    try:
        socket_dir.rmdir()
    except OSError as error:  # a server that had to be killed left its socket there
        logger.info("%s stays for the next start: %s", socket_dir, error.strerror)


def _serve(data_dir: Path, socket_dir: Path, database: Server, cache: Server) -> None:
    lease = locks.open_lock(data_dir, "lease")  # never closed: see `run`
    while True:
        state = State(
            data_dir=str(data_dir),
            supervisor_pid=os.getpid(),
            postgres_pid=database.pid,
            postgres_port=database.port,
            redis_pid=cache.pid,
            redis_port=cache.port,
            socket_dir=str(socket_dir),
            database_url=database.url,
            redis_url=cache.url,
        )
        with published(data_dir, state):
            dead = _watch(lease, database, cache)
        if not dead:
            logger.info("nobody uses the servers any more")
            return
        for server in dead:
            logger.warning("%s died: starting it again", server.name)
            server.restart()


def _watch(lease: int, *servers: Server) -> list[Server]:
    """Returns the dead servers at once, or nothing after the last user has left."""
    last_use = time.monotonic()
    while True:
        if not locks.try_exclusive(lease):
            last_use = time.monotonic()
        elif time.monotonic() - last_use > GRACE_SECONDS:
            return []
        else:
            locks.release(lease)
        if dead := [server for server in servers if not server.is_alive]:
            return dead
        time.sleep(WATCH_SECONDS)
