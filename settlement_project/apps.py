from __future__ import annotations

from celery.signals import (
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)
from django.apps import AppConfig


class SettlementProjectConfig(AppConfig):
    name = "settlement_project"

    def ready(self) -> None:
        from persistence.worker import counts
        from settlement_project import (
            checks,
            security_checks,  # noqa: F401  # it registers its checks
        )

        # Celery sets Django up before it sends this, and nothing is consumed yet.
        worker_init.connect(checks.refuse_other_pools, weak=False)
        worker_init.connect(checks.refuse_unsafe_servers, weak=False)
        worker_process_init.connect(counts.flush_in_background, weak=False)
        worker_process_shutdown.connect(counts.flush_at_the_end, weak=False)
