"""PostgreSQL and Redis for the benchmark, with nothing in them that anybody needs.

Without DATABASE_URL and REDIS_URL a pair of its own over `.data/bench` is used, else
those servers: but there too only databases of the benchmark's own name are touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.errors import BenchmarkError
from settlement_project import servers

BASE_DIR = Path(__file__).resolve().parent.parent
WORLD_DATABASE = "settlement_bench_world"
RUN_DATABASE = "settlement_bench"
GROWTH_DATABASE = "settlement_bench_growth"

IN_USE_SECONDS = 600
"""Autovacuum may be at work in a large table for minutes."""

AUTOVACUUM = """
SELECT FROM pg_stat_activity
WHERE backend_type = 'autovacuum worker' AND datname = current_database()
"""

REDIS_DATABASE = 15
REDIS_MARKER = "settlement:benchmark"
"""A database that holds keys but not this one is somebody's, and is not flushed."""


@dataclass(frozen=True)
class Servers:
    """Where the benchmark's databases are; `database_url` is for administration."""

    database_url: str
    redis_url: str
    run_database: str = RUN_DATABASE

    def conninfo(self, database: str | None = None) -> str:
        return make_conninfo(self.database_url, dbname=database or self.run_database)

    def connect(self, database: str | None = None) -> psycopg.Connection:
        return psycopg.connect(self.conninfo(database), autocommit=True)

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url)

    def environment(self, database: str | None = None) -> dict[str, str]:
        """For child processes: the project under its production settings."""
        return os.environ | {
            "DATABASE_URL": self.conninfo(database),
            "REDIS_URL": self.redis_url,
            "CELERY_BROKER_URL": self.redis_url,
            "DJANGO_SETTINGS_MODULE": "settlement_project.settings",
            # With DEBUG, Django records every query that goes through the ORM.
            "DEBUG": "false",
            "SECRET_KEY": "benchmark",
            "ALLOWED_HOSTS": "localhost",
        }

    def flush_redis(self) -> None:
        with self.redis() as client:
            client.flushdb()
            client.set(REDIS_MARKER, "1")

    def create_database(self, name: str, template: str) -> None:
        """Copy `template`. Dropping the previous copy forces a checkpoint.

        WAL_LOG writes every page of the copy to the log, so that no page has its first
        touch after a checkpoint in the measured time: the steady state of a server.
        """
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            drop_database(connection, name)
            create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log").format(
                sql.Identifier(name), sql.Identifier(template)
            )
            _once_unused(lambda: connection.execute(create))

    def drop_databases(self) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for name in (RUN_DATABASE, GROWTH_DATABASE, WORLD_DATABASE):
                drop_database(connection, name)

    def wait_for_autovacuum(self) -> None:
        """What it does now is not to be in the time that is measured next."""
        deadline = time.monotonic() + IN_USE_SECONDS
        with self.connect() as connection:
            while connection.execute(AUTOVACUUM).fetchone() is not None:
                if time.monotonic() > deadline:
                    raise BenchmarkError("autovacuum did not come to an end")
                time.sleep(1)

    def manage(self, *arguments: str, database: str) -> None:
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=BASE_DIR,
            env=self.environment(database),
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise BenchmarkError(f"manage.py {arguments[0]}:\n{result.stderr}")


def drop_database(connection: psycopg.Connection, name: str) -> None:
    """Whoever is connected to it, autovacuum too; waits for those it may not end."""
    by_force = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
        sql.Identifier(name)
    )
    plainly = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))

    def drop() -> None:
        try:
            connection.execute(by_force)
        except psycopg.errors.InsufficientPrivilege:
            # No role but a superuser may end autovacuum, except by a plain DROP.
            connection.execute(plainly)

    _once_unused(drop)


def _once_unused(change: Callable[[], object]) -> None:
    """Of a database that autovacuum, or whoever may not be ended, is still in."""
    deadline = time.monotonic() + IN_USE_SECONDS
    while True:
        try:
            change()
            return
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _refuse(fault: str) -> None:
    raise BenchmarkError(fault)


@contextmanager
def opened() -> Iterator[Servers]:
    """The servers, and at the end nothing of the benchmark left in them."""
    if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
        os.environ["SETTLEMENT_DATA_DIR"] = str(BASE_DIR / ".data" / "bench")
    database_url, redis_url, _ = servers.resolve(BASE_DIR, _refuse)
    found = Servers(database_url, _own_redis_database(redis_url))
    with found.redis() as client:
        if client.dbsize() and not client.exists(REDIS_MARKER):
            raise BenchmarkError(
                f"{found.redis_url} holds keys that are not the benchmark's"
            )
    # Celery prefers this variable to the URL an application is made with.
    os.environ["CELERY_BROKER_URL"] = found.redis_url
    try:
        yield found
    finally:
        found.drop_databases()
        with found.redis() as client:
            client.flushdb()


def _own_redis_database(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        raise BenchmarkError(f"REDIS_URL must be redis:// or rediss://, not {url}")
    return parts._replace(path=f"/{REDIS_DATABASE}", query="").geturl()
