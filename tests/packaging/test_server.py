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
from tests.packaging.environments import examples_alone, interpreter, outside
from tests.support.documents import make_document
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

NAME = "installed"
BESIDE = "beside"

# Of the game whose database it is: ours has tables of these names, too.
GAMES_OWN = """
CREATE TABLE characters (id text PRIMARY KEY, nickname text);
CREATE TABLE inventory (owner text REFERENCES characters, thing text);
CREATE TABLE item_templates (id serial, slug text);
INSERT INTO characters VALUES ('anna', 'Anna');
CREATE SCHEMA settlement;
ALTER DATABASE installed SET search_path = settlement;
"""

QUEST = "SELECT character_id FROM settlement.game_quest_steps"


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of a database and a Redis of their own: other tests' workers see neither."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(NAME)))
    database = urlsplit(settings.DATABASE_URL)._replace(path=f"/{NAME}").geturl()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(GAMES_OWN)
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield {"DATABASE_URL": database, "REDIS_URL": url, "CELERY_BROKER_URL": url}
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        connection.execute(
            SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(NAME))
        )
        for role in ("worker", "web", "reporter"):
            connection.execute(f"DROP ROLE IF EXISTS {BESIDE}_{role}")


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


def as_worker(addresses: dict[str, str]) -> dict[str, str]:
    parts = urlsplit(addresses["DATABASE_URL"])
    login, _, host = parts.netloc.rpartition("@")
    _, colon, password = login.partition(":")
    place = f"{BESIDE}_worker{colon}{password}@{host}"
    return {**addresses, "DATABASE_URL": parts._replace(netloc=place).geturl()}


def test_a_server_in_an_empty_folder_beside_a_games_own_tables(
    addresses: dict[str, str], tmp_path: Path
) -> None:
    """With the game's app beside it: its table is made, and its hook writes there."""
    addresses |= {
        "PYTHONPATH": str(examples_alone()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SETTLEMENT_APPS": "examples.extension",
        "SETTLEMENT_HOOKS": "examples.extension.quests.Wins",
    }
    password = urlsplit(addresses["DATABASE_URL"]).password or ""
    ours = {**addresses, "WORKER_DATABASE_PASSWORD": password}
    for words in (["migrate"], ["database_roles", "--apply", "--prefix", BESIDE]):
        done = run("server", tmp_path, "combat-settlement", *words, **ours)
        assert done.returncode == 0, done.stderr
    with psycopg.connect(addresses["DATABASE_URL"], autocommit=True) as database:
        database.execute("INSERT INTO characters (id, name) VALUES (101, 'Hero')")
        worker = subprocess.Popen(
            [
                interpreter("server").with_name("celery"),
                *("-A", "settlement_project", "worker", "--concurrency", "1"),
            ],
            cwd=tmp_path,
            env={**nowhere(), **as_worker(addresses)},
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
        assert database.execute(QUEST).fetchall() == [(101,)]
        assert database.execute("SELECT * FROM public.characters").fetchall() == [
            ("anna", "Anna")
        ]
        (in_public,) = database.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone() or (None,)
        assert in_public == 3
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
