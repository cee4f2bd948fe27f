"""Users of the embedded pair: real processes, and what they see of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

import devservers
from devservers import locks

PROJECT_ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 60
SERVERS = ("postgres", "redis")
DAC_OVERRIDE = 1 << 1

USER = """
import sys
from pathlib import Path
from devservers import ensure

servers = ensure(Path(sys.argv[1]))
print(servers.database_url, servers.redis_url, flush=True)
"""
STAYING_USER = USER + "sys.stdin.read()\n"
# A worker with one pool process; that one speaks, so it is there when we listen.
FORKING_USER = STAYING_USER.replace("print", "import os; os.fork() or print")


class Pair:
    """One data directory, and the users that a test lets come and go."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.users: list[subprocess.Popen[str]] = []

    def user(
        self,
        code: str = STAYING_USER,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", code, str(self.data_dir)],
            cwd=PROJECT_ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.users.append(process)
        return process

    def attach(self, **options: Any) -> tuple[str, str]:
        """A new user's DATABASE_URL and REDIS_URL, once it has them."""
        return urls_of(self.user(**options))

    def leave(self) -> None:
        """All users end, forked children included."""
        for process in self.users:
            process.communicate(timeout=TIMEOUT_SECONDS)
        self.users.clear()

    def pid(self, name: str) -> int:
        text = (self.data_dir / "servers.json").read_text(encoding="utf-8")
        return int(json.loads(text)[f"{name}_pid"])

    def is_gone(self) -> bool:
        """No supervisor and no server process: their locks are free."""
        return all(self._is_free(name) for name in ("supervisor", *SERVERS))

    def stop(self) -> None:
        """Do not wait for the grace period."""
        self.leave()
        devservers.stop(self.data_dir)
        assert self.is_gone()

    def _is_free(self, name: str) -> bool:
        lock = locks.open_lock(self.data_dir, name)
        try:
            return locks.try_exclusive(lock)
        finally:
            os.close(lock)


def urls_of(user: subprocess.Popen[str]) -> tuple[str, str]:
    assert user.stdout is not None
    words = user.stdout.readline().split()
    if len(words) != 2:
        pytest.fail(f"ensure failed: {user.communicate()[1]}")
    return words[0], words[1]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def query(database_url: str, sql: str) -> Any:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return row[0] if row else None


def execute(database_url: str, sql: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.encode())


@contextlib.contextmanager
def cache(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def answers(urls: tuple[str, str]) -> bool:
    try:
        with cache(urls[1]) as client:
            return query(urls[0], "SELECT 1") == 1 and bool(client.ping())
    except (psycopg.OperationalError, redis.ConnectionError):
        return False


def remember_something(urls: tuple[str, str]) -> None:
    execute(urls[0], "CREATE TABLE kept AS SELECT 42 AS answer")
    with cache(urls[1]) as client:
        client.set("kept", "42")


def remembers(urls: tuple[str, str]) -> bool:
    with cache(urls[1]) as client:
        return query(urls[0], "SELECT answer FROM kept") == 42 and (
            client.get("kept") == "42"
        )


def reached(attempt: Callable[[], object]) -> bool:
    """Whether somebody gets what he should not: refused is who is told no."""
    try:
        attempt()
    except (OSError, psycopg.OperationalError, redis.RedisError):
        return False
    return True


def process_field(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def access_to(*paths: Path) -> list[tuple[int, int, int]]:
    found = [path.stat() for path in paths]
    return [(one.st_mode, one.st_uid, one.st_gid) for one in found]


@contextlib.contextmanager
def pair_over(data_dir: Path) -> Iterator[Pair]:
    pair = Pair(data_dir)
    try:
        yield pair
    finally:
        if data_dir.exists():
            pair.stop()
