from __future__ import annotations

from celery.signals import worker_init
from django.apps import AppConfig


class SettlementProjectConfig(AppConfig):
    name = "settlement_project"

    def ready(self) -> None:
        from settlement_project import checks

        # Celery sets Django up before it sends this, and nothing is consumed yet.
        worker_init.connect(checks.refuse_unsafe_servers, weak=False)
