"""Sees tombstones the moment Redis has them, without asking for them.

Redis tells one connection about every change of a key under the prefix (client-side
caching in broadcast mode). That costs no polling and changes no setting of the server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from benchmarks.servers import Servers
from persistence.contract import redis_keys

CHANNEL = "__redis__:invalidate"


class Witness:
    """`seen`: key of a tombstone -> `time.perf_counter()` of its first notice."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def listen(self, connection: redis.Connection) -> None:
        """Returns when the connection is closed."""
        while True:
            try:
                kind, _, keys = connection.read_response(timeout=None)
            except (redis.ConnectionError, OSError):
                return
            now = time.perf_counter()
            if kind == b"message":
                for key in keys:
                    self.seen.setdefault(key.decode(), now)


@contextmanager
def watching(servers: Servers) -> Iterator[Witness]:
    witness = Witness()
    # RESP2: notices come as messages to a connection that does nothing else.
    with redis.Redis.from_url(servers.redis_url, protocol=2) as client:
        pool = client.connection_pool
        listener, tracker = pool.get_connection(), pool.get_connection()
        listener.send_command("CLIENT", "ID")
        listener_id = listener.read_response()
        listener.send_command("SUBSCRIBE", CHANNEL)
        tracker.send_command(
            *("CLIENT", "TRACKING", "ON", "REDIRECT", listener_id),
            *("BCAST", "PREFIX", redis_keys.TOMBSTONE_PREFIX),
        )
        tracker.read_response()
        thread = threading.Thread(target=witness.listen, args=[listener], daemon=True)
        thread.start()
        try:
            yield witness
        finally:
            listener.disconnect()
            tracker.disconnect()
            thread.join()
