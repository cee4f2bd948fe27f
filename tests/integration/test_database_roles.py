"""Worker, web and reporter in PostgreSQL: each may what it needs, and nothing else."""

from __future__ import annotations

import io
import uuid
from typing import Any

import psycopg
import pytest
import redis
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from combat_history.insight.usual import measure_rules
from combat_history.management import grants
from combat_history.models import (
    AppliedOperation,
    CombatHistory,
    RejectedPayload,
    ReviewRule,
)
from persistence.dispatcher import SyncDispatcher
from persistence.savers.economy import roll_up_economy
from persistence.tasks import settle_combat, settle_inbox, sweep, task_sync_state
from tests.support.documents import HERO, PELT, hero_fight, op, sample_document
from tests.support.roles import NAMES, PREFIX, acting_as

pytestmark = [pytest.mark.usefixtures("database_roles"), pytest.mark.django_db]

PELTS = {"item_template_id": PELT, "qty": 1}
NO_SUCH_LOOT = {"item_template_id": "no_such", "qty": 1}

EVERYBODY = list(NAMES)
PROGRAMS = [NAMES.worker, NAMES.web]

FORBIDDEN = [
    *[(name, "CREATE TABLE public.mine ()") for name in EVERYBODY],
    *[(name, "CREATE TEMPORARY TABLE mine ()") for name in EVERYBODY],
    *[(name, "CREATE ROLE mine SUPERUSER") for name in EVERYBODY],
    *[(name, "CREATE SCHEMA mine") for name in EVERYBODY],
    *[(name, "SET session_replication_role = replica") for name in EVERYBODY],
    *[(name, "COPY audit_log TO PROGRAM 'cat'") for name in EVERYBODY],
    *[(name, "SELECT pg_read_file('/etc/hostname')") for name in EVERYBODY],
    *[
        (name, statement.format(table))
        for table in ("combat_history", "settlement_ledger", "audit_log")
        for name in EVERYBODY
        for statement in (
            "TRUNCATE {} CASCADE",
            "DELETE FROM {}",
            "DROP TABLE {} CASCADE",
            "ALTER TABLE {} DISABLE TRIGGER ALL",
        )
    ],
    *[(name, "UPDATE settlement_ledger SET gold_delta = 1") for name in PROGRAMS],
    *[(name, "UPDATE audit_log SET reason = ''") for name in PROGRAMS],
    (NAMES.worker, "UPDATE auth_user SET is_superuser = true"),
    (NAMES.worker, "SELECT session_data FROM django_session"),
    (NAMES.worker, "UPDATE item_templates SET name = ''"),
    (NAMES.worker, "UPDATE review_rules SET is_on = false"),
    (NAMES.worker, 'UPDATE review_rules SET "limit" = 0'),
    (NAMES.web, "INSERT INTO settlement_attempts DEFAULT VALUES"),
    (NAMES.reporter, "SELECT password FROM auth_user"),
    (NAMES.reporter, "SELECT session_data FROM django_session"),
    (NAMES.reporter, "SELECT raw FROM rejected_payloads"),
    (NAMES.reporter, "SELECT reason FROM audit_log"),
    (NAMES.reporter, "INSERT INTO characters (id, name) VALUES (1, '')"),
]


@pytest.mark.parametrize(("name", "statement"), FORBIDDEN)
def test_what_is_not_granted_is_refused(name: str, statement: str) -> None:
    with acting_as(name), pytest.raises(ProgrammingError) as no, transaction.atomic():
        connection.cursor().execute(statement)

    assert isinstance(no.value.__cause__, psycopg.errors.InsufficientPrivilege)


def test_every_table_has_a_stated_grant() -> None:
    """A new one gets its line in `grants.TABLES`, the least that its users need."""
    with connection.cursor() as cursor:
        found = connection.introspection.table_names(cursor, include_views=True)

    assert set(found) - grants.TABLES.keys() == set()
    assert grants.TABLES.keys() - set(found) == set()


def test_granting_again_changes_nothing() -> None:
    before = _rights()

    call_command("database_roles", "--apply", prefix=PREFIX, stdout=io.StringIO())

    assert _rights() == before
    assert {name for _, name, _ in before} >= set(EVERYBODY)


def test_what_somebody_granted_beside_is_taken_back() -> None:
    before = _rights()
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT DELETE, TRUNCATE ON audit_log TO {NAMES.web}")

    call_command("database_roles", "--apply", prefix=PREFIX, stdout=io.StringIO())

    assert _rights() == before


def test_the_printed_sql_is_what_is_applied() -> None:
    before = _rights()
    printed = io.StringIO()

    call_command("database_roles", prefix=PREFIX, stdout=printed)

    script, begin, end = printed.getvalue(), "BEGIN;\n", "COMMIT;\n"
    assert script.startswith(begin)
    with connection.cursor() as cursor:
        cursor.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {NAMES.web}")
        cursor.execute(script[len(begin) : script.index(end)])
    assert _rights() == before
    assert f"\\password {NAMES.reporter}" in script


def test_a_password_reaches_the_server_as_a_verifier(settings: Settings) -> None:
    secret = f"hush-{uuid.uuid4()}"
    settings.DATABASE_ROLE_PASSWORDS = dict.fromkeys(
        settings.DATABASE_ROLE_PASSWORDS, secret
    )

    with transaction.atomic(), CaptureQueriesContext(connection) as seen:
        call_command("database_roles", "--apply", prefix=PREFIX, stdout=io.StringIO())
        transaction.set_rollback(True)

    said = [query["sql"] for query in seen if " PASSWORD " in query["sql"]]
    assert len(said) == len(EVERYBODY)
    assert all("SCRAM-SHA-256$" in statement for statement in said)
    assert not any(secret in query["sql"] for query in seen)


def test_a_table_of_a_later_migration_serves_before_it_is_stated() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE later (id bigint GENERATED ALWAYS AS IDENTITY, note text)"
        )
        for name in PROGRAMS:
            with acting_as(name):
                cursor.execute("INSERT INTO later (note) VALUES ('')")
                cursor.execute("UPDATE later SET note = 'seen' RETURNING id")
                assert cursor.fetchone()
    for name, statement in (
        (NAMES.web, "DELETE FROM later"),
        (NAMES.reporter, "SELECT note FROM later"),
    ):
        test_what_is_not_granted_is_refused(name, statement)


@pytest.mark.django_db(transaction=True)
def test_a_worker_can_do_all_its_work(
    world: None, redis_client: redis.Redis, unheard: SyncDispatcher
) -> None:
    """Beside what the session's worker does as the same role, all the suite long."""
    rule = ReviewRule.objects.create(amount="gold", span="day", limit=10**9, is_on=True)
    good, unknown = sample_document(), hero_fight(items_gained=[NO_SUCH_LOOT])
    with acting_as(NAMES.worker):
        settle_combat(good)
        settle_combat(unknown)
        settle_combat({"session_id": "no id"})
        unheard.change_inventory_sync(
            HERO, [op("a", "add", **PELTS), op("b", "remove", **PELTS)]
        )
        for scope in ("inventory", "vitals", "scenario"):
            task_sync_state(scope, HERO)
        settle_inbox()
        sweep()
        measure_rules()
        roll_up_economy()
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == (NAMES.worker,)

    statuses = CombatHistory.objects.values_list("settlement_status", flat=True)
    assert sorted(statuses) == ["failed", "processed"]
    assert RejectedPayload.objects.count() == 1
    assert AppliedOperation.objects.filter(key__contains="a").exists()
    rule.refresh_from_db()
    assert rule.measured_at is not None


def _rights() -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, coalesce(rolname, 'public'), "
            "array_agg(privilege_type ORDER BY privilege_type) "
            "FROM pg_class, aclexplode(relacl) LEFT JOIN pg_roles r ON r.oid = grantee "
            "WHERE relnamespace = 'public'::regnamespace GROUP BY 1, 2 ORDER BY 1, 2"
        )
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
