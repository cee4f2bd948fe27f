"""What is wrong with this installation now, and what to do: the checks and the figures.

Each finding is one sentence of what was found and one of what to do. Whoever cannot be
asked is a finding itself, and hides no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import redis
from django.core import checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from combat_history.insight import figures
from combat_history.reading import redis_clients
from persistence.contract import redis_keys
from persistence.worker import presence

OVERDUE_SECONDS = 120
"""As the alert SettlementInboxStands: two minutes are many leases and beats."""

FULL = 0.8
"""Share of a bound from which on it is told of."""

CONNECTIONS = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
       current_setting('max_connections')::int
"""


class Severity(IntEnum):
    NOTE = 0
    """Waits for a person, or is as somebody wanted it."""
    WARNING = 1
    ERROR = 2
    """Combats are not settled, or may be lost."""


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    what: str
    remedy: str


Found = Iterator[Finding]


def findings() -> Found:
    """All of them; the worst of each kind of server first."""
    yield from _checked()
    for ask in (_migrations, _connections, _business, _processes, _inbox, _memory):
        yield from _asked(ask)


def _asked(ask: Callable[[], Found]) -> Found:
    try:
        yield from ask()
    except (DatabaseError, redis.RedisError, OSError) as error:
        what = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        yield Finding(
            Severity.ERROR,
            f"{ask.__name__.removeprefix('_').capitalize()} cannot be told: {what}",
            "Look at DATABASE_URL and REDIS_URL, and whether their servers answer.",
        )


def _checked() -> Found:
    """The checks of settings, servers and defences; of Django and of this system."""
    for message in checks.run_checks(
        include_deployment_checks=True, databases=["default"]
    ):
        if message.level < checks.WARNING or message.is_silenced():
            continue
        severity = Severity.ERROR if message.is_serious() else Severity.WARNING
        hint = message.hint or "Look it up in Django's documentation of checks."
        yield Finding(severity, f"{message.id}: {message.msg}", hint)


def _migrations() -> Found:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield Finding(
            Severity.ERROR,
            f"{len(missing)} migrations are not applied, from {missing[0][0]} on.",
            "Run manage.py migrate as the owner of the tables, before the workers.",
        )


def _connections() -> Found:
    with connection.cursor() as cursor:
        cursor.execute(CONNECTIONS)
        used, limit = cursor.fetchone()
    if used > limit * FULL:
        yield Finding(
            Severity.WARNING,
            f"{used} of {limit} connections of PostgreSQL are taken.",
            "Lower --concurrency or SETTLEMENT_DATABASE_POOL; or raise the limit.",
        )


def _business() -> Found:
    told = {
        name: numbers
        for reading in figures.read()
        for name, numbers in (reading.numbers or {}).items()
    }
    modes = told.get("settlement_mode", {})
    mode = max(modes, key=lambda name: modes[name], default="running")
    if mode != "running":
        yield Finding(
            Severity.NOTE,
            f"Settlement is {mode}: nothing, or no more, is settled.",
            "manage.py settlement status says who and why; resume ends it.",
        )
    oldest = told.get("settlement_oldest_pending_seconds", {}).get("", 0)
    if oldest > OVERDUE_SECONDS and mode == "running":
        yield Finding(
            Severity.ERROR,
            f"A combat has been due for {oldest:.0f} s and is not settled.",
            "Look at the log of a worker, and at the combat's attempts in the admin.",
        )
    failed = told.get("settlement_combats", {}).get("failed", 0)
    if failed:
        yield Finding(
            Severity.NOTE,
            f"{failed:.0f} failed combats wait for a person.",
            "Open the failed settlements in the admin: each cause has its remedy.",
        )


def _processes() -> Found:
    for kind, ages in presence.read(redis_clients.client()).items():
        if not presence.are_alive(ages):
            last = f", the last {min(ages.values()):.0f} s ago" if ages else ""
            yield Finding(
                Severity.ERROR,
                f"No {kind} has been heard of{last}.",
                f"Start one: celery -A settlement_project {kind}; or read its log.",
            )


def _inbox() -> Found:
    with redis_clients.client().pipeline(transaction=False) as pipe:
        pipe.zrange(redis_keys.INBOX, 0, 0, withscores=True)
        pipe.time()
        first, (seconds, _) = pipe.execute()
    overdue = seconds - first[0][1] / 1000 if first else 0
    if overdue > OVERDUE_SECONDS:
        yield Finding(
            Severity.ERROR,
            f"An accepted combat has waited for {overdue:.0f} s in the inbox.",
            "No worker takes it, or settlement is paused: look at the workers' logs.",
        )


def _memory() -> Found:
    info = redis_clients.client().info("everything")
    used, limit = info["used_memory"], info.get("maxmemory") or 0
    if limit and used > limit * FULL:
        yield Finding(
            Severity.WARNING,
            f"Redis uses {used:,} of {limit:,} bytes: full, it refuses hand-offs.",
            "Raise maxmemory, or lower SETTLEMENT_RAW_RETENTION_SECONDS.",
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        yield Finding(
            Severity.ERROR,
            "Redis cannot write its append-only file.",
            "Make room on its disk, then run redis-cli BGREWRITEAOF.",
        )
