"""The servers that the storm may kill, starve and swap, and the cables to them.

PostgreSQL, and a Redis with a replica, of one make: `embedded` is what the project
brings along, `debian` are the packages postgresql-15 and redis-server. Everybody comes
to them by a cable, so that a promoted replica is found where the primary was.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psycopg
import redis

from devservers import identity, postgres
from devservers import redis as embedded_redis
from devservers.errors import EmbeddedError
from devservers.server import Server
from tests.chaos.rig import HOST, kill_server
from tests.support.ports import free_port
from tests.support.proxy import Proxy, through
from tests.support.waiting import wait_until

DEBIAN_POSTGRES = Path("/usr/lib/postgresql/15/bin")

WHO_USES_WHAT = {
    "worker": ("postgres", "redis", "broker"),
    "beat": ("broker",),
    "web": ("postgres", "redis", "broker"),
    "engine": ("postgres", "redis", "broker", "web"),
    "desk": ("postgres", "redis", "broker"),
    "bot": ("web",),
}

DISKS = {"postgres": "3g", "redis-a": "512m", "redis-b": "512m"}

SYNC_SECONDS = 30


class DebianPostgres(postgres.Postgres):
    locale: ClassVar[tuple[str, ...]] = ("--locale=C.UTF-8",)

    @property
    def programs(self) -> Path:
        return DEBIAN_POSTGRES


@dataclass(frozen=True)
class Redis(embedded_redis.Redis):
    program: Path
    # A replica and its primary change places, and ask each other for none.
    password: ClassVar[str] = ""

    def command(self, port: int) -> list[str]:
        _, *options = super().command(port)
        # A replica that was away for a moment goes on where it was.
        return [str(self.program), *options, "--repl-diskless-sync-delay", "0"]


@dataclass(frozen=True)
class Make:
    """Whose servers they are."""

    postgres: type[postgres.Postgres]
    postgres_programs: Callable[[], Path]
    redis_program: Callable[[], Path]


def _debian_redis() -> Path:
    found = shutil.which("redis-server")
    if found is None or not DEBIAN_POSTGRES.exists():
        raise EmbeddedError("As root: apt-get install postgresql-15 redis-server")
    return Path(found)


MAKES = {
    "embedded": Make(postgres.Postgres, postgres.binaries, embedded_redis.binary),
    "debian": Make(DebianPostgres, lambda: DEBIAN_POSTGRES, _debian_redis),
}


class Disk:
    """A file system of a server's own, where this process may mount one."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755"]
        done = subprocess.run([*mount, "storm", path], capture_output=True, check=False)
        self.is_own = done.returncode == 0
        self._ballast = path / "ballast"
        (path / "logs").mkdir()

    def fill(self) -> None:
        """To the last byte."""
        block = bytes(1 << 20)
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(block)

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)


class Servers:
    """Started by construction. Who strikes one starts it again."""

    def __init__(self, folder: Path, make: str) -> None:
        kind = MAKES[make]
        self.disks = {name: Disk(folder / name, size) for name, size in DISKS.items()}
        redis_program = kind.redis_program()
        programs = [kind.postgres_programs() / "postgres", redis_program]
        owner = identity.choose(folder / "postgres", programs)
        self._socket_dir = postgres.socket_directory(None, owner)
        database = kind.postgres(folder / "postgres", owner, self._socket_dir)
        self.postgres = Server(database, free_port())
        self.redis, self.replica = (
            Server(Redis(folder / name, owner, redis_program), free_port())
            for name in ("redis-a", "redis-b")
        )
        self._disk_of = {id(self.redis): "redis-a", id(self.replica): "redis-b"}
        for server in (self.postgres, self.redis, self.replica):
            server.start()
        self._follow()
        self.cables = {
            f"{who}~{what}": Proxy((self._host(what), self._port(what)))
            for who, used in WHO_USES_WHAT.items()
            for what in used
        }

    @property
    def redis_disk(self) -> Disk:
        return self.disks[self._disk_of[id(self.redis)]]

    def database_url(self, cable: str | None = None) -> str:
        url = self.postgres.url
        return through(url, self.cables[cable].port) if cable else url

    def redis_url(self, cable: str | None = None) -> str:
        port = self.cables[cable].port if cable else self.redis.port
        return f"redis://{HOST}:{port}/0"

    def web_url(self, who: str) -> str:
        return f"http://{HOST}:{self.cables[f'{who}~web'].port}"

    def addresses(self) -> dict[str, str]:
        """Without a cable."""
        return {
            "DATABASE_URL": self.database_url(),
            "REDIS_URL": self.redis_url(),
            "CELERY_BROKER_URL": self.redis_url(),
        }

    def environment(self, who: str) -> dict[str, str]:
        """Addresses for one of the staff, over cables of its own."""
        used = WHO_USES_WHAT[who]
        return {
            "DATABASE_URL": self.database_url(
                f"{who}~postgres" if "postgres" in used else None
            ),
            "REDIS_URL": self.redis_url(f"{who}~redis" if "redis" in used else None),
            "CELERY_BROKER_URL": self.redis_url(f"{who}~broker"),
        }

    def client(self, server: Server | None = None) -> redis.Redis:
        port = (server or self.redis).port
        return redis.Redis(HOST, port, socket_timeout=5, decode_responses=True)

    def execute(self, statement: str) -> None:
        """As the superuser, whom nothing keeps out."""
        url = f"postgresql://postgres@:{self.postgres.port}/settlement"
        with psycopg.connect(f"{url}?host={self._socket_dir}", autocommit=True) as link:
            link.execute(statement.encode())

    def mend(self) -> None:
        """Whatever was done to them: all serve again, and the replica follows."""
        for disk in self.disks.values():
            disk.clear()
        for server in (self.postgres, self.redis):
            if not server.is_alive:
                server.restart()
        if not self.replica.is_alive:
            self._restart_replica()
        self._follow()

    def fail_over(self) -> None:
        """The primary dies, and the replica takes its place and its clients."""
        self.wait_in_sync()
        kill_server(self.redis)
        self.redis, self.replica = self.replica, self.redis
        with self.client() as promoted:
            promoted.replicaof("NO", "ONE")
        for name, cable in self.cables.items():
            if name.endswith(("~redis", "~broker")):
                cable.point_to(self.redis.port)
        self._restart_replica()
        self._follow()

    def _restart_replica(self) -> None:
        """Empty: its primary fills it, whatever a full disk has made of its file."""
        disk = self.disks[self._disk_of[id(self.replica)]]
        shutil.rmtree(disk.path / "redis")
        self.replica.restart()

    def wait_in_sync(self) -> None:
        """Until the replica has all but what is being written now."""

        def is_in_sync() -> bool:
            with self.client(self.replica) as client, suppress(redis.RedisError):
                link = client.info("replication").get("master_link_status")
                return bool(link == "up")
            return False

        wait_until(is_in_sync, "the replica has caught up", SYNC_SECONDS)

    def stop(self) -> None:
        for cable in self.cables.values():
            cable.close()
        for server in (self.replica, self.redis, self.postgres):
            server.stop()
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _host(self, what: str) -> str | Path:
        return self._socket_dir if what == "postgres" else HOST

    def _port(self, what: str) -> int:
        # The web comes later, and moves whenever it is started anew.
        ports = {"postgres": self.postgres.port, "web": 1}
        return ports.get(what, self.redis.port)

    def _follow(self) -> None:
        deadline = time.monotonic() + SYNC_SECONDS
        while True:
            try:
                with self.client(self.replica) as client:
                    client.replicaof(HOST, self.redis.port)
                return
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
