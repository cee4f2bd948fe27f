"""The project's models under Django's default connection handling."""

from __future__ import annotations

from settlement_project.settings import *  # noqa: F403
from settlement_project.settings import DATABASES

DATABASES["default"].update(CONN_MAX_AGE=0, CONN_HEALTH_CHECKS=False)
DATABASES["default"]["OPTIONS"].pop("prepare_threshold")
