from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from settlement_project.servers import are_local, django_database, resolve

HOSTILE = "p@ss:w/rd?#[%41]&=+ я'\\"


def entry(url: str) -> dict[str, Any]:
    return django_database(url, "-c lock_timeout=5s")


def address(url: str) -> tuple[object, ...]:
    made = entry(url)
    return tuple(made[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT"))


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (
            "postgresql://game:hush@db.example:5433/world",
            ("world", "game", "hush", "db.example", "5433"),
        ),
        ("postgres://game@db.example/world", ("world", "game", "", "db.example", "")),
        ("postgresql://[::1]:5433/world", ("world", "", "", "::1", "5433")),
        (
            "postgresql://game@/world?host=/run/pg&port=5502",
            ("world", "game", "", "/run/pg", "5502"),
        ),
        ("postgresql://game@%2Frun%2Fpg/world", ("world", "game", "", "/run/pg", "")),
        ("postgresql:///world", ("world", "", "", "", "")),
    ],
)
def test_a_libpq_url_becomes_a_databases_entry(
    url: str, parts: tuple[object, ...]
) -> None:
    assert address(url) == parts
    assert entry(url)["ENGINE"] == "django.db.backends.postgresql"


def test_a_password_of_hostile_characters_arrives_unchanged() -> None:
    url = f"postgresql://game:{quote(HOSTILE, safe='')}@db.example/world"

    assert entry(url)["PASSWORD"] == HOSTILE


def test_query_options_reach_libpq() -> None:
    options = entry(
        "postgresql://db.example/world?sslmode=verify-full&connect_timeout=2"
        "&tcp_user_timeout=9000&application_name=game"
    )["OPTIONS"]

    assert options["sslmode"] == "verify-full"
    assert options["connect_timeout"] == "2"
    assert options["tcp_user_timeout"] == "9000"
    assert options["application_name"] == "game"
    conninfo_to_dict(**{k: v for k, v in options.items() if k != "prepare_threshold"})


def test_half_open_connections_are_given_up_by_default() -> None:
    options = entry("postgresql://db.example/world")["OPTIONS"]

    assert options["connect_timeout"] == 5
    assert options["tcp_user_timeout"] == 15_000
    assert options["keepalives_idle"] == 30


def test_session_options_come_before_those_of_the_url() -> None:
    url = "postgresql://db.example/world?options=-c%20search_path%3Dgame"

    assert entry(url)["OPTIONS"]["options"] == (
        "-c lock_timeout=5s -c search_path=game"
    )
    assert entry("postgresql:///world")["OPTIONS"]["options"] == "-c lock_timeout=5s"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://game@localhost/world",
        "postgresql://127.0.0.1:5433/world",
        "postgresql://[::1]/world",
        "postgresql:///world",
        "postgresql://game@/world?host=/run/pg&port=5502",
        "postgresql://game@%2Frun%2Fpg/world",
        "redis://localhost:6379/0",
        "redis://127.0.0.1/0",
        "unix:///run/redis.sock",
        "redis+socket:///run/redis.sock",
    ],
)
def test_loopback_and_sockets_are_local(url: str) -> None:
    assert are_local("redis://localhost", url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example/world",
        "postgresql://10.0.0.5/world",
        "postgresql:///world?host=db.example",
        "postgresql://game@/world?hostaddr=10.0.0.5",
        "postgresql://localhost,db.example/world",
        "rediss://cache.example:6379/0",
        "redis://localhost.example/0",
    ],
)
def test_any_other_host_is_not_local(url: str) -> None:
    assert not are_local("redis://localhost", url)


def test_the_broker_is_redis_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/world")
    monkeypatch.setenv("REDIS_URL", "redis://cache.example/0")
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)

    database, redis, broker = resolve(tmp_path, pytest.fail)

    assert database == "postgresql://db.example/world"
    assert broker == redis == "redis://cache.example/0"

    monkeypatch.setenv("CELERY_BROKER_URL", "redis://broker.example/1")
    assert resolve(tmp_path, pytest.fail)[2] == "redis://broker.example/1"
    assert list(tmp_path.iterdir()) == []


def test_an_address_may_stand_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With its password; what the environment holds every child can read."""
    held = {
        "DATABASE_URL": "postgresql://game:hush@db.example/world",
        "REDIS_URL": "redis://:hush@cache.example/0",
        "CELERY_BROKER_URL": "amqp://game:hush@broker.example",
    }
    for name, url in held.items():
        monkeypatch.delenv(name, raising=False)
        (tmp_path / name).write_text(f"{url}\n", encoding="utf-8")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))

    assert resolve(tmp_path, pytest.fail) == tuple(held.values())

    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL_FILE"):
        resolve(tmp_path, pytest.fail)
