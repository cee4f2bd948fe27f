"""The project's settings, and a planner that some documents kill."""

from __future__ import annotations

from settlement_project.settings import *  # noqa: F403
from settlement_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.poison.PoisonConfig"]
