"""Workers behind PgBouncer in transaction mode: another session each transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from combat_history.models import CombatHistory
from persistence.dispatcher import SyncDispatcher
from tests.integration.test_checks import ids, manage, production
from tests.support.documents import hero_fight
from tests.support.pgbouncer import pgbouncer
from tests.support.waiting import wait_until
from tests.support.worker import database_url, running_worker

COMBATS = 12

LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def url(world: None) -> Iterator[str]:
    with pgbouncer(database_url()) as address:
        yield address


@pytest.fixture
def _limits_of_the_role(world: None) -> Iterator[None]:
    """As `manage.py database_roles` sets those of worker and web."""
    role = sql.Identifier(str(conninfo_to_dict(database_url())["user"]))
    with psycopg.connect(database_url(), autocommit=True) as connection:
        for limit in map(sql.Identifier, LIMITS):
            connection.execute(
                sql.SQL("ALTER ROLE {} SET {} = '10s'").format(role, limit)
            )
        yield
        connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(role))


def settled() -> dict[str, int]:
    statuses = CombatHistory.objects.values_list("settlement_status", flat=True)
    return {status: list(statuses).count(status) for status in set(statuses)}


def hand_over(number: int) -> None:
    engine = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
    for _ in range(number):
        engine.submit_combat_sync(hero_fight())
    engine.close()


@pytest.mark.usefixtures("_limits_of_the_role")
def test_combats_are_settled_by_sessions_that_change(url: str, tmp_path: Path) -> None:
    with running_worker(
        tmp_path, concurrency=4, DATABASE_URL=url, SETTLEMENT_PGBOUNCER="true"
    ):
        for _ in range(COMBATS):
            hand_over(1)
            time.sleep(0.02)
        wait_until(lambda: settled() == {"processed": COMBATS}, "all are settled")


def test_limits_that_are_not_in_force_are_refused(url: str) -> None:
    asked = manage(
        "check",
        "--database",
        "default",
        env=production(DATABASE_URL=url, SETTLEMENT_PGBOUNCER="true"),
    )

    assert asked.returncode == 1
    assert "E034" in ids(asked.stderr)
    assert "lock_timeout, statement_timeout, idle_in_transaction" in asked.stderr


@pytest.mark.usefixtures("_limits_of_the_role")
def test_limits_of_the_role_are_enough(url: str) -> None:
    asked = manage(
        "check",
        "--database",
        "default",
        env=production(DATABASE_URL=url, SETTLEMENT_PGBOUNCER="true"),
    )

    assert asked.returncode == 0, asked.stderr
