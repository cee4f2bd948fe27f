from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

# Its import loads the pages, which tests here take the list of.
import settlement_project.urls  # noqa: F401
from combat_history.models import CombatHistory
from tests.conftest import Settle
from tests.support import admin


@pytest.fixture(autouse=True)
def _as_web(database_roles: None, settings: Settings) -> None:
    """What these pages do, the role of the web server may do."""
    settings.MIDDLEWARE = ["tests.support.roles.as_web", *settings.MIDDLEWARE]


@pytest.fixture(autouse=True)
def _static_files(settings: Settings, tmp_path: Path) -> None:
    """WhiteNoise warns about a folder that only `collectstatic` makes."""
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_superuser("operator")


@pytest.fixture
def client(operator: User) -> Client:
    return admin.logged_in(operator)


@pytest.fixture
def viewer(db: None) -> User:
    return admin.viewer()


@pytest.fixture
def failed(settle_here: Settle) -> UUID:
    """A combat that failed with unknown_item."""
    document = admin.unknown_loot()
    settle_here(document)
    combat = CombatHistory.objects.get(pk=document["session_id"])
    assert (combat.settlement_status, combat.failure_code) == ("failed", "unknown_item")
    return combat.pk
