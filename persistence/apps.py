from __future__ import annotations

from django.apps import AppConfig


class PersistenceConfig(AppConfig):
    name = "persistence"
