"""Finds PostgreSQL, Redis and the broker: from the environment, else embedded."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from persistence.engine import connecting

NO_DATABASE, NO_REDIS = "postgresql://", "redis://"

BROKERS = ("amqp://", "pyamqp://", "amqps://", "memory://")
"""Beside Redis; what is in memory is for tests alone."""

_LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1"})


def resolve(base_dir: Path, say: Callable[[str], None]) -> tuple[str, str, str]:
    """DATABASE_URL, REDIS_URL and CELERY_BROKER_URL; `say` hears what is wrong.

    Without DATABASE_URL or REDIS_URL the embedded pair over `.data/` is attached to,
    or started. Its addresses are not put into the environment: a child process has to
    attach for itself, or the pair would not know that it is in use.
    """
    # libpq URL of PostgreSQL, or DATABASE_URL_FILE; none: the embedded one.
    database = os.environ.get("DATABASE_URL") or _of_file("DATABASE_URL")
    # URL of the Redis of the combats, or REDIS_URL_FILE; none: the embedded one.
    redis = os.environ.get("REDIS_URL") or _of_file("REDIS_URL")
    if not database or not redis:
        try:
            import devservers
        except ModuleNotFoundError:
            raise ImproperlyConfigured(
                "DATABASE_URL and REDIS_URL must be set: the servers that are started "
                "without them come with a checkout alone."
            ) from None

        servers = devservers.ensure(data_dir(base_dir))
        database = database or servers.database_url
        redis = redis or servers.redis_url
    # URL of the broker, or CELERY_BROKER_URL_FILE; by default the Redis of the combats.
    broker = os.environ.get("CELERY_BROKER_URL") or _of_file("CELERY_BROKER_URL")
    return _checked(database, redis, broker or redis, say)


def _checked(
    database: str, redis: str, broker: str, say: Callable[[str], None]
) -> tuple[str, str, str]:
    """Nothing is asked by a URL that is wrong: the settings end with what was said."""
    try:
        conninfo_to_dict(database)
    except ProgrammingError as error:
        say(f"DATABASE_URL: {str(error).strip()}")
        database = NO_DATABASE
    if found := connecting.fault(redis):
        say(f"REDIS_URL: {found}")
        redis = NO_REDIS
    if found := _broker_fault(broker):
        say(f"CELERY_BROKER_URL: {found}")
        broker = NO_REDIS
    return database, redis, broker


def _broker_fault(url: str) -> str | None:
    if url.startswith(BROKERS):
        return None
    found = connecting.fault(url)
    return f"{found}; nor {', '.join(BROKERS)}" if found else None


def _of_file(name: str) -> str | None:
    """The URL in the file that NAME_FILE names, password and all."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE={path!r}: {error}") from error


def data_dir(base_dir: Path) -> Path:
    # Where the embedded servers keep their data; `.data` by default.
    return Path(os.environ.get("SETTLEMENT_DATA_DIR") or base_dir / ".data")


def own_secret(file: Path) -> str:
    """One that every process of a checkout shares, elsewhere this process's own."""
    try:
        from devservers import kept

        return kept.secret(file)
    except (ModuleNotFoundError, OSError):
        return secrets.token_urlsafe(24)


def are_local(*urls: str) -> bool:
    """Whether every server is reached over loopback or a unix socket."""
    return all(_is_local(host) for url in urls for host in _hosts(url))


def _hosts(url: str) -> list[str]:
    """libpq takes hosts from the query, too, and several of them."""
    if not url.startswith(("postgres://", "postgresql://")):
        return connecting.hosts(url)
    parts = conninfo_to_dict(url)
    named = (str(parts.get(key) or "") for key in ("host", "hostaddr"))
    return [host for names in named for host in names.split(",")]


def _is_local(host: str) -> bool:
    return host in _LOOPBACK or host.startswith(("/", "@"))


def django_database(
    url: str, session_options: str, *, shared: bool = False
) -> dict[str, Any]:
    """A Django DATABASES entry for a libpq URL, sockets and query options included.

    `shared`: a proxy gives each transaction another session. What is said to one is
    then the role's to say, and no statement is prepared there.
    """
    parts = conninfo_to_dict(url)
    options: dict[str, Any] = {
        key: value
        for key, value in parts.items()
        if key not in {"dbname", "user", "password", "host", "port", "options"}
    }
    given = parts.get("options") or ""
    if not shared:
        options["options"] = f"{session_options} {given}".strip()
    options.setdefault("connect_timeout", 5)
    # A network that is cut without FIN: nobody waits for hours for an answer. What the
    # server holds for us is let go by its own time-outs, in `session_options`.
    options.setdefault("keepalives_idle", 30)
    options.setdefault("keepalives_interval", 10)
    options.setdefault("keepalives_count", 3)
    options.setdefault("tcp_user_timeout", 15000)
    # The set-based statements repeat; Django turns preparing off by default.
    options.setdefault("prepare_threshold", None if shared else 5)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.get("dbname", ""),
        "USER": parts.get("user", ""),
        "PASSWORD": parts.get("password", ""),
        "HOST": parts.get("host", ""),
        "PORT": str(parts.get("port", "") or ""),
        # Kept for life, and asked whether it still answers before it is used again.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": shared,
        "OPTIONS": options,
    }
