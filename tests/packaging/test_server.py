"""The server, installed from the wheel: run in an empty folder, without a checkout."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from psycopg.sql import SQL, Identifier

from persistence.dispatcher import SyncDispatcher
from tests.packaging.environments import interpreter, outside
from tests.support.documents import make_document
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

NAME = "installed"


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of a database and a Redis of their own: other tests' workers see neither."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(NAME)))
    database = urlsplit(settings.DATABASE_URL)._replace(path=f"/{NAME}").geturl()
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield {"DATABASE_URL": database, "REDIS_URL": url, "CELERY_BROKER_URL": url}
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        connection.execute(
            SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(NAME))
        )


def run(
    environment: str, folder: Path, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    program, *rest = arguments
    return subprocess.run(
        [interpreter(environment).with_name(program), *rest],
        cwd=folder,
        env={**nowhere(), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def nowhere() -> dict[str, str]:
    return {k: v for k, v in outside().items() if not k.endswith("_URL")}


def test_a_server_in_an_empty_folder(addresses: dict[str, str], tmp_path: Path) -> None:
    migrated = run("server", tmp_path, "combat-settlement", "migrate", **addresses)
    assert migrated.returncode == 0, migrated.stderr
    with psycopg.connect(addresses["DATABASE_URL"], autocommit=True) as database:
        database.execute("INSERT INTO characters (id, name) VALUES (101, 'Hero')")
        worker = subprocess.Popen(
            [
                interpreter("server").with_name("celery"),
                *("-A", "settlement_project", "worker", "--concurrency", "1"),
            ],
            cwd=tmp_path,
            env={**nowhere(), **addresses},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            engine = SyncDispatcher(
                addresses["REDIS_URL"], addresses["CELERY_BROKER_URL"]
            )
            engine.submit_combat_sync(make_document())
            engine.close()

            wait_until(
                lambda: database.execute(
                    "SELECT xp FROM characters WHERE id = 101 AND xp > 0"
                ).fetchone(),
                "the fight is settled",
                60,
            )
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait()
    assert worker.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_static_files_are_collected_where_it_runs(
    addresses: dict[str, str], tmp_path: Path
) -> None:
    collect = ("combat-settlement", "collectstatic", "--noinput")
    done = run("server", tmp_path, *collect, **addresses)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "staticfiles" / "combat_history" / "admin.css").exists()


def test_a_server_without_addresses_says_what_it_needs(tmp_path: Path) -> None:
    done = run("server", tmp_path, "combat-settlement", "migrate")

    assert done.returncode != 0
    assert "DATABASE_URL and REDIS_URL must be set" in done.stderr


def test_the_command_of_a_plain_install_says_what_is_missing(tmp_path: Path) -> None:
    done = run("engine", tmp_path, "combat-settlement", "migrate")

    assert done.returncode != 0
    assert "pip install 'combat-settlement[server]'" in done.stderr
