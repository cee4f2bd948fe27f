"""PostgreSQL's roles in the tests: whole processes as one, or a block of this one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from psycopg.pq import TransactionStatus

from combat_history.management import grants
from tests.support.worker import database_url

PREFIX = "settlement_tests"
NAMES = grants.role_names(PREFIX)


@contextmanager
def made() -> Iterator[None]:
    """As `manage.py database_roles` makes them; tables stay the test runner's."""
    password = urlsplit(settings.DATABASE_URL).password or ""
    known = settings.DATABASE_ROLE_PASSWORDS
    settings.DATABASE_ROLE_PASSWORDS = dict.fromkeys(known, password)
    call_command("database_roles", "--apply", prefix=PREFIX, stdout=io.StringIO())
    settings.DATABASE_ROLE_PASSWORDS = known
    everybody = ", ".join(NAMES)
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT {everybody} TO CURRENT_USER")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {everybody}; DROP ROLE {everybody}")


def url_as(name: str) -> str:
    """DATABASE_URL of the tests' database for one of `NAMES`."""
    parts = urlsplit(database_url())
    login, _, host = parts.netloc.rpartition("@")
    _, colon, password = login.partition(":")
    return parts._replace(netloc=f"{name}{colon}{password}@{host}").geturl()


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """This thread's connection; nothing of it is counted as a query of the project."""
    connection.ensure_connection()
    connection.connection.execute(f"SET ROLE {name}")
    try:
        yield
    finally:
        own = connection.connection
        # What is rolled back goes back to the role before by itself.
        if own is not None and not own.closed and not _has_failed(own.info):
            own.execute("RESET ROLE")


def as_web(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: every request is served as the web server's role."""

    def serve(request: HttpRequest) -> HttpResponse:
        try:
            connection.ensure_connection()
        except OperationalError:
            return get_response(request)
        with acting_as(NAMES.web):
            return get_response(request)

    return serve


def _has_failed(info: object) -> bool:
    return getattr(info, "transaction_status", None) is TransactionStatus.INERROR
