"""`manage.py check --deploy` says which defences of this system are not switched on.

Warnings, also in production: each has an installation that does without, such as one
without engines. Django's own checks speak of DEBUG, SECRET_KEY, HTTPS and cookies.
docs/operator/security.md says what each defence is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import DatabaseError, connection

from persistence.engine import connecting
from settlement_project.celery import app

SECURITY = "settlement_security"

ANSWER_WITHIN_SECONDS = 5

OWN_POWERS = """
SELECT rolsuper, EXISTS (
    SELECT FROM pg_tables
    WHERE schemaname = current_schema() AND pg_has_role(tableowner, 'USAGE')
) FROM pg_roles WHERE rolname = current_user
"""


@checks.register(SECURITY, deploy=True)
def check_signatures(**_: Any) -> list[CheckMessage]:
    return _missing(
        (
            bool(settings.SETTLEMENT_ENGINE_KEYS),
            "040",
            "No keys of engines: whoever reaches Redis or the broker may hand over a "
            "result that gives anything.",
            "Set SETTLEMENT_ENGINE_KEYS for engines, workers and web.",
        )
    )


@checks.register(SECURITY, deploy=True)
def check_remote_control(**_: Any) -> list[CheckMessage]:
    return _missing(
        (
            not app.conf.worker_enable_remote_control,
            "041",
            "Workers obey broadcasts: one of them can stop all.",
            "Take SETTLEMENT_REMOTE_CONTROL away, or let no user but Flower's publish.",
        )
    )


@checks.register(SECURITY, deploy=True)
def check_redis_users(**_: Any) -> list[CheckMessage]:
    """Of Redis' users; one that cannot be asked is settlement.E020's."""
    urls = {"REDIS_URL": settings.REDIS_URL, "CELERY_BROKER_URL": settings.BROKER_URL}
    by_server = {urlsplit(url).netloc: (name, url) for name, url in urls.items()}
    found: list[CheckMessage] = []
    for name, url in by_server.values():
        if not url.startswith(connecting.SCHEMES):
            continue
        try:
            found += _open_doors(name, url)
        except redis.RedisError:
            continue
    return found


def _open_doors(name: str, url: str) -> list[CheckMessage]:
    return _missing(
        (
            not _lets_in_anybody(url),
            "042",
            f"{name}: Redis lets in whoever reaches it, without a password.",
            "Start it with the users of ops/redis/users.acl.",
        ),
        (
            not _comes_as_default(url),
            "043",
            f"{name} comes as Redis' user default, which may do everything.",
            "Come as worker or web, users of ops/redis/users.acl.",
        ),
    )


def _lets_in_anybody(url: str) -> bool:
    parts = urlsplit(url)
    nobody = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        with _client(nobody) as client:
            return bool(client.ping())
    except (redis.AuthenticationError, redis.ResponseError):
        return False


def _comes_as_default(url: str) -> bool:
    try:
        with _client(url) as client:
            return client.acl_whoami() in (b"default", "default")
    except redis.ResponseError:
        # Who may not ask has a list of what he may.
        return False


def _client(url: str) -> redis.Redis:
    return connecting.client(
        url,
        socket_timeout=ANSWER_WITHIN_SECONDS,
        socket_connect_timeout=ANSWER_WITHIN_SECONDS,
    )


@checks.register(checks.Tags.database, deploy=True)
def check_database_role(
    databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Of `check --deploy --database default`, run as the role that serves."""
    if "default" not in (databases or ()):
        return []
    try:
        with connection.cursor() as cursor:
            cursor.execute(OWN_POWERS)
            is_superuser, is_owner = cursor.fetchone()
    except DatabaseError:
        return []
    return _missing(
        (
            not is_superuser,
            "044",
            "The role of DATABASE_URL is a superuser of PostgreSQL: it may do anything "
            "to the server and its machine.",
            "Serve as settlement_worker and settlement_web: manage.py database_roles.",
        ),
        (
            is_superuser or not is_owner,
            "045",
            "The role of DATABASE_URL owns the tables: it may empty history, ledger "
            "and audit, and drop what guards them.",
            "Serve as settlement_worker and settlement_web: manage.py database_roles.",
        ),
    )


def _missing(*rules: tuple[bool, str, str, str]) -> list[CheckMessage]:
    """(holds, number, what is missing otherwise, what to do then)."""
    return [
        checks.Warning(problem, hint=hint, id=f"settlement.W{number}")
        for holds, number, problem, hint in rules
        if not holds
    ]
