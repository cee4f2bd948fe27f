"""Give PostgreSQL's roles what each of them needs, and no more.

Runs as the owner of the tables, after every `migrate`; again changes nothing. Passwords
come from the environment or files, and go to the server as SCRAM verifiers: no command
line, no statement and no log of the server shows one.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection, transaction
from psycopg import sql

from combat_history.management import grants
from combat_history.management.grants import Roles


class Command(BaseCommand):
    help = "Print the SQL of the roles worker, web and reporter, or apply it."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--apply", action="store_true", help="run it, as the owner")
        parser.add_argument(
            "--prefix",
            default=grants.PREFIX,
            help="of the names: of a second installation on one server",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        names = grants.role_names(options["prefix"])
        if not options["apply"]:
            self._print(names)
            return
        try:
            with transaction.atomic():
                self._apply(names)
        except DatabaseError as error:
            raise CommandError(f"PostgreSQL refuses: {error}".strip()) from error
        self.stdout.write(f"{', '.join(names)}: granted")

    def _apply(self, names: Roles) -> None:
        with connection.cursor() as cursor:
            for statement in _statements(names):
                cursor.execute(statement)
            for name, password in zip(names, _passwords(), strict=True):
                if password:
                    cursor.execute(_set_password(name, password))

    def _print(self, names: Roles) -> None:
        connection.ensure_connection()
        self.stdout.write("BEGIN;")
        for statement in _statements(names):
            self.stdout.write(f"{statement.as_string(connection.connection).strip()};")
        self.stdout.write("COMMIT;")
        for name in names:
            self.stdout.write(f"\\password {name}")


def _statements(names: Roles) -> list[sql.Composed]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_schema()")
        database, schema = cursor.fetchone()
        found = connection.introspection.table_names(cursor, include_views=True)
    return list(
        grants.statements(names, database, found, schema=schema, games_own=_games_own())
    )


def _games_own() -> list[str]:
    """Tables of SETTLEMENT_APPS."""
    return [
        model._meta.db_table
        for config in apps.get_app_configs()
        if config.name in settings.SETTLEMENT_APPS
        for model in config.get_models()
    ]


def _passwords() -> list[str]:
    return [settings.DATABASE_ROLE_PASSWORDS[role] for role in Roles._fields]


def _set_password(name: str, password: str) -> sql.Composed:
    verifier = connection.connection.pgconn.encrypt_password(
        password.encode(), name.encode(), b"scram-sha-256"
    )
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(
        sql.Identifier(name), verifier.decode()
    )
