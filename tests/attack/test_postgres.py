"""As each role of PostgreSQL, signed in as a program is."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings

from tests.attack.stack import Stack
from tests.integration.test_database_roles import FORBIDDEN
from tests.support.roles import NAMES, url_as

pytestmark = pytest.mark.django_db

REFUSED = (
    psycopg.errors.InsufficientPrivilege,
    # Of the reporter, whose sessions read.
    psycopg.errors.ReadOnlySqlTransaction,
)


@pytest.mark.parametrize("role", NAMES)
def test_a_role_takes_nothing_that_it_was_not_given(stack: Stack, role: str) -> None:
    others = {*NAMES, urlsplit(settings.DATABASE_URL).username} - {role}
    statements = [
        *(statement for name, statement in FORBIDDEN if name == role),
        *(f"SET ROLE {other}" for other in others),
    ]
    with psycopg.connect(url_as(role), autocommit=True) as own:
        for statement in statements:
            with pytest.raises(REFUSED):
                own.execute(statement.encode())
