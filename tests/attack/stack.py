"""The whole system as production runs it, for somebody to attack."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis
from celery import Celery
from django.db import connection

from combat_history.callers import Scope
from combat_history.management import grants
from combat_history.models import CombatHistory
from devservers.redis import binary
from persistence.contract.signing import EngineKeys
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt
from persistence.worker.heartbeat import FOLDER_VARIABLE
from tests.support import roles
from tests.support.documents import hero_fight
from tests.support.redis_users import running_with_users, url_as
from tests.support.waiting import wait_until
from tests.support.web import Web, running_web
from tests.support.worker import PROJECT_ROOT, CeleryProcess, running_worker

KEYS = "game-1:a-secret-of-the-game"
TOKENS = {scope: f"a-token-with-nothing-but-{scope}" for scope in Scope}

PRODUCTION = {
    "DEBUG": "false",
    "SECRET_KEY": "x7Qm-3vT_pK9wZr5LdYc8HfBn2sJg6UeAaXi4oRtVkWqNyMzCbDhEjFl",
    "ALLOWED_HOSTS": "127.0.0.1",
    "SETTLEMENT_ENGINE_KEYS": KEYS,
    "SETTLEMENT_REMOTE_CONTROL": "false",
    "SETTLEMENT_LINGER": "true",
    "SETTLEMENT_LEASE_MS": "11000",
    "SETTLEMENT_REQUEST_SECONDS": "2",
}
SCOPED = ",".join(
    f"only-{scope.partition(':')[0]}-{scope.partition(':')[2]}={scope}={secret}"
    for scope, secret in TOKENS.items()
)

MAY_CHANGE = frozenset(
    {
        "combat_history",
        "combat_history_applied",
        "combat_history_full",
        "combat_participants",
        "combat_replay",
        "event_publications",
        "minute_counts",
        "parked_operations",
        "rejected_payloads",
        "settlement_attempts",
        "settlement_events",
        "settlement_failures",
    }
)
"""Where what was refused is kept. In every other table an attack has no place."""


@dataclass
class Stack:
    """`redis_url`: without a user."""

    redis_url: str
    worker: CeleryProcess
    web: Web
    heartbeats: Path

    @contextmanager
    def redis_as(self, name: str | None) -> Iterator[redis.Redis]:
        url = self.redis_url if name is None else url_as(name, self.redis_url)
        with redis.Redis.from_url(url, socket_timeout=5) as client:
            yield client

    @contextmanager
    def celery_as(self, name: str) -> Iterator[Celery]:
        url = url_as(name, self.redis_url)
        # Not `broker`: CELERY_BROKER_URL of the tests would stand above it.
        with Celery(
            broker_write_url=url, broker_read_url=url, set_as_current=False
        ) as app:
            yield app

    def forget(self) -> None:
        with self.redis_as("admin") as client:
            client.flushdb()

    def processes(self) -> list[int]:
        return [self.worker.pid, *sorted(self.worker.children()), self.web.pid]

    def must_be_well(self) -> None:
        """Health says so, and what an engine has signed is settled."""
        assert self.worker.is_alive, self.worker.output()
        for kind in ("worker", "beat"):
            subprocess.run(
                [sys.executable, "persistence/worker/heartbeat.py", kind],
                cwd=PROJECT_ROOT,
                env={FOLDER_VARIABLE: str(self.heartbeats)},
                check=True,
                timeout=60,
            )
        assert self.web.ask("/readyz")[0] == 200
        fight = hero_fight(gold_gained=1)
        own = url_as("engine", self.redis_url)
        # One that lived on would hand it over again once Redis is emptied.
        with closing(SyncDispatcher(own, own, keys=EngineKeys.parse(KEYS))) as engine:
            assert engine.submit_combat_sync(fight) is Receipt.ACCEPTED
            wait_until(partial(self.is_settled, fight["session_id"]), "a signed fight")

    def is_settled(self, session_id: str) -> bool:
        row = CombatHistory.objects.filter(pk=session_id).first()
        return row is not None and row.settlement_status == "processed"

    def answer(self, sent: bytes) -> tuple[int, str]:
        """What a plain connection is told, and 0 where it is only closed."""
        with socket.create_connection(("127.0.0.1", self.web.port), timeout=30) as line:
            line.sendall(sent)
            told = b""
            try:
                while part := line.recv(65536):
                    told += part
            except ConnectionResetError:
                pass
        text = told.decode("utf-8", "replace")
        return (int(text.split()[1]) if text else 0), text


def request(method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    """As the TLS proxy passes it on."""
    if body:
        lines = (*lines, f"Content-Length: {len(body)}")
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "X-Forwarded-Proto: https",
        "Connection: close",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    with ExitStack() as stack:
        url = stack.enter_context(running_with_users(folder, binary()))
        heartbeats = folder / "heartbeats"

        def env(role: str, user: str) -> dict[str, str]:
            own = url_as(user, url)
            servers = {"REDIS_URL": own, "CELERY_BROKER_URL": own}
            return {**PRODUCTION, **servers, "DATABASE_URL": roles.url_as(role)}

        own = env(roles.NAMES.worker, "worker")
        worker = stack.enter_context(
            running_worker(
                folder,
                concurrency=2,
                beat=True,
                name=None,
                **own,
                **{FOLDER_VARIABLE: str(heartbeats)},
            )
        )
        own = env(roles.NAMES.web, "web")
        web = stack.enter_context(
            running_web(folder / "web.log", **own, SETTLEMENT_API_TOKENS=SCOPED)
        )
        yield Stack(url, worker, web, heartbeats)


def snapshot() -> dict[str, str]:
    """A digest of every table but those, and of the fights that were settled."""
    tables = sorted(grants.TABLES.keys() - MAY_CHANGE)
    asked = [
        *(f"SELECT '{name}' AS name, t::text AS line FROM {name} t" for name in tables),
        "SELECT 'settled', session_id || settlement_status || revision "
        "FROM combat_history WHERE settlement_status IN ('processed', 'voided')",
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, md5(string_agg(line, chr(10) ORDER BY line)) "
            f"FROM ({' UNION ALL '.join(asked)}) rows GROUP BY name"
        )
        return dict(cursor.fetchall())
