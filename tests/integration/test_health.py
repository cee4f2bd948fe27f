"""/livez and /readyz: alive is not ready."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from settlement_project import health
from tests.support.api import NOBODY_LISTENS, get

pytestmark = pytest.mark.usefixtures("world", "api")


def health_of(path: str) -> tuple[int, Any]:
    response = get(path, None)
    assert "no-store" in response["Cache-Control"]
    return response.status_code, json.loads(response.content)


def test_a_client_that_asks_needs_no_collected_files(
    settings: Settings, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path / "never_made"

    assert Client().get("/livez").status_code == 200


def test_alive_and_ready() -> None:
    assert health_of("/livez") == (200, {"status": "ok"})
    checks = {"postgres": "ok", "redis": "ok", "migrations": "ok"}
    assert health_of("/readyz") == (200, {"status": "ok", "checks": checks})


def test_without_redis_alive_but_not_ready(settings: Settings) -> None:
    settings.REDIS_URL = NOBODY_LISTENS

    status, told = health_of("/readyz")

    assert (status, told["checks"]["redis"]) == (503, "ConnectionError")
    assert told["checks"]["postgres"] == "ok"
    assert health_of("/livez")[0] == 200


def test_with_a_migration_missing_not_ready() -> None:
    health.require_migrations.cache_clear()
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE id = (SELECT max(id) "
            "FROM django_migrations WHERE app = 'combat_history') "
            "RETURNING name, applied"
        )
        newest = cursor.fetchone()
        try:
            status, told = health_of("/readyz")
        finally:
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied) "
                "VALUES ('combat_history', %s, %s)",
                newest,
            )

    assert (status, told["checks"]["migrations"]) == (503, "MigrationsMissing")
    assert health_of("/readyz")[0] == 200
