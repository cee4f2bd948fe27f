"""PostgreSQL and Redis that end with the process that started them."""

from __future__ import annotations

from pathlib import Path

from devservers import identity, postgres, redis
from devservers.server import Server
from tests.support.ports import free_port


class ServerPair:
    """It has its addresses from the beginning, and serves there from `start` on.

    However this process ends, the kernel ends the servers with it. They may be killed
    and started again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "logs").mkdir()
        programs = [postgres.binaries() / "postgres", redis.binary()]
        owner = identity.choose(folder, programs)
        self.socket_dir = postgres.socket_directory(None, owner)
        database = postgres.Postgres(folder, owner, self.socket_dir)
        self.postgres = Server(database, free_port())
        self.redis = Server(redis.Redis(folder, owner), free_port())

    def start(self) -> None:
        self.postgres.start()
        self.redis.start()

    def stop(self) -> None:
        self.postgres.stop()
        self.redis.stop()
        for leftover in self.socket_dir.iterdir():
            leftover.unlink()
        self.socket_dir.rmdir()
