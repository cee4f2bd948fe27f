"""The system refuses settings and servers on which combats could get lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core import checks
from pytest_django import Settings

from devservers import state
from settlement_project.celery import app
from tests.support import redis_users, roles, worker
from tests.support.ids import ENGINE
from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.redis_server import running_redis

SECRET = "x7Qm-3vT_pK9wZr5LdYc8HfBn2sJg6UeAaXi4oRtVkWqNyMzCbDhEjFl"

SERVERS = ("check", "--deploy", "--database", "default")


def run(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        mortal(sys.executable, *command),
        cwd=worker.PROJECT_ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def manage(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run("manage.py", *arguments, env=env)


def production(**over: str) -> dict[str, str]:
    """The environment of a deployment, with none of the tests' short times."""
    env = worker.environment(
        DEBUG="false", SECRET_KEY=SECRET, ALLOWED_HOSTS="game.example.org"
    )
    return {
        **{k: v for k, v in env.items() if not k.startswith("SETTLEMENT_")},
        **over,
    }


def ids(text: str) -> set[str]:
    return set(re.findall(r"settlement\.([EW]\d+)", text))


def errors(text: str) -> set[str]:
    """Without what `check --deploy` says of defences."""
    return {number for number in ids(text) if number.startswith("E")}


def django_ids(text: str) -> set[str]:
    return set(re.findall(r"security\.(W\d+)", text))


pytestmark = pytest.mark.django_db


def secured(**over: str) -> dict[str, str]:
    """With every defence that `check --deploy` asks for."""
    return production(
        DATABASE_URL=roles.url_as(roles.NAMES.web),
        REDIS_URL=redis_users.url_as("web", settings.REDIS_URL),
        CELERY_BROKER_URL=redis_users.url_as("web", settings.BROKER_URL),
        SETTLEMENT_API_TOKENS=ENGINE,
        SETTLEMENT_ENGINE_KEYS="game-1:of-sixteen-or-more",
        **over,
    )


@pytest.mark.usefixtures("database_roles", "users")
def test_production_settings_pass_every_check() -> None:
    ended = manage(*SERVERS, "--fail-level", "WARNING", env=secured())
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.usefixtures("database_roles", "users")
def test_every_defence_that_is_missing_is_named() -> None:
    """Django's own: W004 no HSTS, W009 a weak SECRET_KEY."""
    bare = {
        "DATABASE_URL": worker.database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "SETTLEMENT_API_TOKENS": "sixteen-characters",
        "SETTLEMENT_ENGINE_KEYS": "",
        "SETTLEMENT_REMOTE_CONTROL": "true",
        "SECURE_HSTS_SECONDS": "0",
        "SECRET_KEY": "short",
    }
    told = manage(*SERVERS, env={**secured(), **bare})
    missing = {"W014", "W040", "W041", "W043", "W045"}
    assert (told.returncode, ids(told.stderr)) == (0, missing)
    assert django_ids(told.stderr) == {"W004", "W009"}
    for name in ("sixteen-characters", urlsplit(settings.REDIS_URL).password or "-"):
        assert name not in told.stderr.replace("--deploy", "")


@pytest.mark.usefixtures("database_roles", "users")
def test_servers_that_let_in_anybody_are_named(tmp_path: Path) -> None:
    own = urlsplit(worker.database_url())
    superuser = own._replace(netloc=f"postgres@{own.netloc.rpartition('@')[2]}")
    with running_redis(tmp_path) as url:
        told = manage(
            *SERVERS,
            env={
                **secured(),
                "DATABASE_URL": superuser.geturl(),
                "REDIS_URL": url,
                "DEBUG": "true",
            },
        )
    assert ids(told.stderr) == {"W042", "W043", "W044"}
    assert "W018" in django_ids(told.stderr), "DEBUG"


def test_everything_wrong_with_the_environment_is_said_at_once(tmp_path: Path) -> None:
    wrong = {
        "SETTLEMENT_BATCH_SIZE": "0",
        "SETTLEMENT_LEASE_MS": "soon",
        "SETTLEMENT_SHORTAGES": "ignore",
        "SECURE_SSL_REDIRECT": "perhaps",
        "SECRET_KEY_FILE": str(tmp_path / "gone"),
        "LOG_LEVEL": "LOUD",
        "ALLOWED_HOSTS": "",
    }
    ended = manage("check", env=production(**wrong))
    assert ended.returncode != 0
    (message,) = re.findall(
        r"ImproperlyConfigured: (.*)", ended.stderr, flags=re.DOTALL
    )
    listed = re.findall(r"^  - (\w+)", message, flags=re.MULTILINE)
    assert sorted(listed) == sorted(wrong)
    assert "not between 1 and 500" in message


def test_production_has_no_default_secret() -> None:
    env = production()
    del env["SECRET_KEY"]
    ended = manage("check", env=env)
    assert ended.returncode != 0
    assert "SECRET_KEY (or SECRET_KEY_FILE) must be set" in ended.stderr


def test_times_that_do_not_fit_are_refused_in_production_only() -> None:
    times = {"SETTLEMENT_LEASE_MS": "34999", "SETTLEMENT_DRAIN_SECONDS": "20"}
    refused = manage("check", env=production(**times))
    assert (refused.returncode, ids(refused.stderr)) == (1, {"E003", "E004"})
    warned = manage("check", env=production(**times, DEBUG="true"))
    assert (warned.returncode, ids(warned.stderr)) == (0, {"W003", "W004"})


@pytest.mark.parametrize(
    ("number", "name", "value"),
    [
        ("001", "broker_transport_options", {"visibility_timeout": 11}),
        ("002", "task_soft_time_limit", 6),
        ("005", "task_acks_late", False),
        ("006", "task_reject_on_worker_lost", False),
        ("007", "accept_content", ["json", "pickle"]),
        ("007", "task_serializer", "pickle"),
        ("008", "result_backend", "redis://127.0.0.1/0"),
        ("009", "task_create_missing_queues", True),
        ("010", "worker_prefetch_multiplier", 4),
    ],
)
def test_celery_settings_that_lose_messages_are_refused(
    monkeypatch: pytest.MonkeyPatch, number: str, name: str, value: object
) -> None:
    before = settings_checks()
    monkeypatch.setitem(app.conf, name, value)
    assert settings_checks() - before == {f"E{number}"}


def test_another_database_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    before = settings_checks()
    sqlite = "django.db.backends.sqlite3"
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", sqlite)
    assert settings_checks() - before == {"E012"}


def settings_checks() -> set[str]:
    """Ids of what is wrong with the settings of this process, short times included."""
    return ids(" ".join(str(m.id) for m in checks.run_checks(tags=["settlement"])))


def test_an_incomplete_redis_transport_is_refused(tmp_path: Path) -> None:
    (tmp_path / "packaging.py").write_text("raise ImportError('not installed')\n")
    ended = manage("check", env=production(PYTHONPATH=str(tmp_path)))
    assert (ended.returncode, ids(ended.stderr)) == (1, {"E011"})
    assert "celery[redis]" in ended.stderr


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("REDIS_URL", "redis://redis.example.org:6379/0"),
        ("BROKER_URL", "redis://redis.example.org:6379/0"),
        ("DATABASE_URL", "postgresql://settlement@db.example.org/settlement"),
    ],
)
def test_debug_is_refused_with_servers_of_other_machines(
    settings: Settings, name: str, url: str
) -> None:
    settings.DEBUG = True
    before = settings_checks()
    setattr(settings, name, url)
    assert settings_checks() - before == {"E013"}


@pytest.mark.parametrize(
    ("policy", "appendonly", "numbers"),
    [
        ("allkeys-lru", "yes", {"021"}),
        ("noeviction", "no", {"022"}),
        ("noeviction", "yes", set()),
    ],
)
def test_a_redis_that_forgets_is_found(
    settings: Settings, tmp_path: Path, policy: str, appendonly: str, numbers: set[str]
) -> None:
    with running_redis(tmp_path, policy=policy, appendonly=appendonly) as url:
        settings.REDIS_URL = url
        for debug, letter in ((False, "E"), (True, "W")):
            settings.DEBUG = debug
            found = checks.run_checks(tags=["servers"], include_deployment_checks=True)
            assert {str(message.id) for message in found} == {
                f"settlement.{letter}{number}" for number in numbers
            }


def celery_worker(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run("-m", "celery", "-A", "settlement_project", "worker", "-c1", env=env)


def test_production_refuses_a_redis_that_forgets(tmp_path: Path) -> None:
    with running_redis(tmp_path, policy="allkeys-lru", appendonly="no") as url:
        for ended in (
            manage("check", "--deploy", env=production(REDIS_URL=url)),
            celery_worker(production(REDIS_URL=url)),
        ):
            assert (ended.returncode, errors(ended.stderr)) == (1, {"E021", "E022"})
            assert " ready." not in ended.stderr


def test_no_worker_starts_where_a_commit_may_get_lost() -> None:
    joiner = "&" if "?" in worker.database_url() else "?"
    url = worker.database_url() + joiner + "options=-c%20synchronous_commit%3Doff"
    ended = celery_worker(production(DATABASE_URL=url))
    assert (ended.returncode, ids(ended.stderr)) == (1, {"E033"})


def test_no_worker_starts_where_servers_cannot_be_asked() -> None:
    ended = celery_worker(
        production(
            REDIS_URL=f"redis://127.0.0.1:{free_port()}/0",
            DATABASE_URL="postgresql://settlement@127.0.0.1:1/settlement",
            SETTLEMENT_START_WAIT_SECONDS="1",
        )
    )
    assert (ended.returncode, ids(ended.stderr)) == (1, {"E020", "E030"})


def test_a_postgres_that_does_not_survive_a_crash_is_refused(tmp_path: Path) -> None:
    env = production(SETTLEMENT_DATA_DIR=str(tmp_path))
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"):
        del env[name]
    assert manage(*SERVERS, env=env).returncode == 0
    settings_file = tmp_path / "postgres" / "postgresql.auto.conf"
    with settings_file.open("a") as file:
        file.write("full_page_writes = off\n")
    pair = state.last(tmp_path)
    assert pair is not None
    with contextlib.suppress(ProcessLookupError):  # a new one reads the file, too
        os.kill(pair.postgres_pid, signal.SIGHUP)

    refused = manage(*SERVERS, env=env)
    assert (refused.returncode, errors(refused.stderr)) == (1, {"E032"})
