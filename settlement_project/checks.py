"""System checks: the settings and servers on which "exactly once" rests.

`manage.py check` judges the settings, `check --deploy` Redis as well, and
`check --database default` PostgreSQL. In production a fault is an error, and no worker
starts; under DEBUG it is a warning, for tests shorten the times.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any

import redis
from celery.concurrency import prefork
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import DatabaseError, connection

from combat_history.callers import Scope, read_environment
from persistence.engine import connecting
from settlement_project import servers
from settlement_project.awaiting import wait_for_servers
from settlement_project.celery import app

logger = logging.getLogger(__name__)

SETTLEMENT = "settlement"
SERVERS = "servers"

LEASE_MARGIN_MS = 5_000
"""From the hard limit to the end of a killed worker's connection."""

KOMBU_VISIBILITY_TIMEOUT_SECONDS = 3600
"""What the transport takes where nothing is said."""

POSTGRES_AT_LEAST = 150_000
"""15: a unique constraint may take NULLs as equal."""

POSTGRES_ENGINES = (
    "django.db.backends.postgresql",
    "settlement_project.pooled_postgresql",
)

ANSWER_WITHIN_SECONDS = 5

Rule = tuple[bool, str, str, str]
"""(holds, number, what is wrong otherwise, what to do then)."""


def refuse_other_pools(sender: Any, **_: object) -> None:
    """Let no worker start that cannot end a task which hangs. Raises SystemExit."""
    if not issubclass(sender.pool_cls, prefork.TaskPool):
        pool = sender.pool_cls.__module__.rpartition(".")[2]
        raise SystemExit(
            f"Refusing to start: the pool is {pool}, and only prefork has the time "
            "limits on which leases rest."
        )


def refuse_unsafe_servers(**_: object) -> None:
    """Let no worker start in production on settings or servers that lose combats.

    Raises SystemExit with every fault: Celery only logs other exceptions of those who
    listen to its signals. Servers that are on their way are waited for.
    """
    wait_for_servers()
    found = [
        *check_times(),
        *check_celery(),
        *check_backends(),
        *check_redis(),
        *check_postgres(databases=["default"]),
    ]
    # The pool is forked later: children on one connection read each other's answers.
    connection.close()
    faults = [f"{message.id}: {message.msg} {message.hint}" for message in found]
    if any(message.is_serious() for message in found):
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise SystemExit(f"Refusing to start:\n{lines}")
    for fault in faults:
        logger.warning(fault)


@checks.register(SETTLEMENT)
def check_times(**_: Any) -> list[CheckMessage]:
    hard, soft = app.conf.task_time_limit, app.conf.task_soft_time_limit
    lease_ms, drain = settings.SETTLEMENT_LEASE_MS, settings.SETTLEMENT_DRAIN_SECONDS
    visible = app.conf.broker_transport_options.get(
        "visibility_timeout", KOMBU_VISIBILITY_TIMEOUT_SECONDS
    )
    return _broken(
        (
            visible >= 2 * hard,
            "001",
            f"visibility_timeout is {visible} s, below twice the hard time limit of "
            f"{hard} s: a message at work would be delivered again.",
            "Raise visibility_timeout in CELERY_BROKER_TRANSPORT_OPTIONS.",
        ),
        (
            soft < hard,
            "002",
            f"The soft time limit of {soft} s is not below the hard one of {hard} s: "
            "a task would be killed in the middle of a statement.",
            "Lower CELERY_TASK_SOFT_TIME_LIMIT.",
        ),
        (
            lease_ms >= hard * 1000 + LEASE_MARGIN_MS,
            "003",
            f"A lease of {lease_ms} ms may end before its worker does: the hard time "
            f"limit is {hard} s.",
            f"Let SETTLEMENT_LEASE_MS exceed it by {LEASE_MARGIN_MS} ms.",
        ),
        (
            drain < soft,
            "004",
            f"A drain takes new batches for {drain} s, beyond its soft time limit of "
            f"{soft} s.",
            "Lower SETTLEMENT_DRAIN_SECONDS or raise SETTLEMENT_HARD_LIMIT_SECONDS.",
        ),
    )


@checks.register(SETTLEMENT)
def check_celery(**_: Any) -> list[CheckMessage]:
    conf = app.conf
    return _broken(
        (
            conf.task_acks_late,
            "005",
            "Messages are acknowledged before their task has run.",
            "Set CELERY_TASK_ACKS_LATE = True.",
        ),
        (
            conf.task_reject_on_worker_lost,
            "006",
            "The message of a killed worker counts as done.",
            "Set CELERY_TASK_REJECT_ON_WORKER_LOST = True.",
        ),
        (
            conf.accept_content == ["json"] and conf.task_serializer == "json",
            "007",
            "Messages other than JSON are read: a pickle runs its sender's code.",
            'Set CELERY_ACCEPT_CONTENT = ["json"], CELERY_TASK_SERIALIZER = "json".',
        ),
        (
            not conf.result_backend,
            "008",
            "There is a result backend: combat_history is the result.",
            "Set CELERY_RESULT_BACKEND = None.",
        ),
        (
            not conf.task_create_missing_queues,
            "009",
            "A misspelt queue is created, and nobody listens to it.",
            "Set CELERY_TASK_CREATE_MISSING_QUEUES = False.",
        ),
        (
            conf.worker_prefetch_multiplier == 1,
            "010",
            "A worker hoards messages that others could work on.",
            "Set CELERY_WORKER_PREFETCH_MULTIPLIER = 1.",
        ),
        (
            _redis_transport_is_complete(),
            "011",
            "Celery's Redis transport lacks a package.",
            "Install celery[redis], as in requirements.txt.",
        ),
    )


@checks.register(SETTLEMENT)
def check_backends(**_: Any) -> list[CheckMessage]:
    engine = settings.DATABASES["default"]["ENGINE"]
    found = _broken(
        (
            engine in POSTGRES_ENGINES,
            "012",
            f"The database engine is {engine}: the rules are PostgreSQL's.",
            "Set DATABASE_URL to a PostgreSQL server.",
        ),
    )
    local = servers.are_local(
        settings.DATABASE_URL, settings.REDIS_URL, settings.BROKER_URL
    )
    if settings.DEBUG and not local:
        found.append(
            checks.Error(
                "DEBUG is on with servers of other machines.",
                hint="Set DEBUG=false, SECRET_KEY and ALLOWED_HOSTS.",
                id="settlement.E013",
            )
        )
    return found


@checks.register(SETTLEMENT)
def check_tokens(**_: Any) -> list[CheckMessage]:
    """A warning also in production: who wrote the token before 0.3 still reads."""
    return [
        checks.Warning(
            f"SETTLEMENT_API_TOKENS: token {place} names no scopes, so it may read "
            "results and nothing else.",
            hint="Write name=scope+scope=secret, such as "
            "engine=combats:submit+belts:reserve=…; the scopes are "
            f"{', '.join(Scope)}.",
            id="settlement.W014",
        )
        for place, token in enumerate(
            read_environment(settings.SETTLEMENT_API_TOKENS), 1
        )
        if token.is_bare
    ]


def warn_of_tokens() -> None:
    """In the log of a web server, which runs no checks."""
    for message in check_tokens():
        logger.warning(f"{message.id}: {message.msg} {message.hint}")


@checks.register(SERVERS, deploy=True)
def check_redis(**_: Any) -> list[CheckMessage]:
    """The Redis of combats; the broker's may lose what it likes, a ring is a hint."""
    try:
        with connecting.client(
            settings.REDIS_URL,
            socket_timeout=ANSWER_WITHIN_SECONDS,
            socket_connect_timeout=ANSWER_WITHIN_SECONDS,
        ) as client:
            # CONFIG is often forbidden; INFO says the same.
            info = client.info("everything")
    except redis.RedisError as error:
        return [_fault("020", f"Redis cannot be asked: {error}", "Look at REDIS_URL.")]
    if info.get("loading"):
        # It says nothing true of its AOF meanwhile.
        return [_fault("023", "Redis still reads its file.", "Ask again in a while.")]
    if info.get("cluster_enabled"):
        # Also under DEBUG: no script of ours runs there.
        return [
            checks.Error(
                f"{connecting.NO_CLUSTER}.",
                hint="Use one primary with replicas, and Sentinel for fail-over.",
                id="settlement.E025",
            )
        ]
    policy = info.get("maxmemory_policy")
    return _broken(
        (
            policy == "noeviction",
            "021",
            f"Redis may evict accepted combats: its maxmemory-policy is {policy}.",
            "Set maxmemory-policy noeviction.",
        ),
        (
            bool(info.get("aof_enabled")),
            "022",
            "Redis forgets accepted combats when it ends: it keeps no AOF.",
            "Set appendonly yes.",
        ),
        (
            info.get("role") != "slave",
            "024",
            f"Redis is a replica, of {info.get('master_host')}: it takes no writes.",
            "Set REDIS_URL to its primary.",
        ),
    )


SAFETY = """
SELECT current_setting('server_version_num')::int, current_setting('fsync'),
       current_setting('full_page_writes'), current_setting('synchronous_commit'),
       ARRAY(SELECT name FROM unnest(ARRAY[
           'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout'
       ]) AS name WHERE current_setting(name) = '0')
"""


@checks.register(checks.Tags.database)
def check_postgres(
    databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    if "default" not in (databases or ()):
        return []
    try:
        with connection.cursor() as cursor:
            cursor.execute(SAFETY)
            version, fsync, full_pages, commit, unbound = cursor.fetchone()
    except DatabaseError as error:
        problem = f"PostgreSQL cannot be asked: {error}".strip()
        return [_fault("030", problem, "Look at DATABASE_URL.")]
    return _broken(
        (
            version >= POSTGRES_AT_LEAST,
            "031",
            f"PostgreSQL {version // 10_000} is too old.",
            f"Use {POSTGRES_AT_LEAST // 10_000} or newer.",
        ),
        (
            fsync == "on" and full_pages == "on",
            "032",
            f"A crash may destroy the database: fsync is {fsync}, full_page_writes "
            f"{full_pages}.",
            "Set both on.",
        ),
        (
            commit != "off",
            "033",
            "A commit is confirmed before it is kept: synchronous_commit is off.",
            "Take it out of the options of DATABASE_URL.",
        ),
        (
            not unbound,
            "034",
            f"A session may hold a row for ever: {', '.join(unbound)} is not set. A "
            "proxy has taken no notice of what this process asks for.",
            "Set SETTLEMENT_PGBOUNCER=true, and the limits of the role: manage.py "
            "database_roles --apply.",
        ),
    )


def _redis_transport_is_complete() -> bool:
    try:
        importlib.import_module("kombu.transport.redis")
    except ImportError:
        return False
    return True


def _broken(*rules: Rule) -> list[CheckMessage]:
    return [_fault(*fault) for holds, *fault in rules if not holds]


def _fault(number: str, problem: str, hint: str) -> CheckMessage:
    if settings.DEBUG:
        return checks.Warning(problem, hint=hint, id=f"settlement.W{number}")
    return checks.Error(problem, hint=hint, id=f"settlement.E{number}")
