"""The Celery application: `celery -A settlement_project worker -B`."""

from __future__ import annotations

import gc
import os

from celery import Celery
from celery.signals import worker_process_init

from settlement_project.liveness import WorkerHeartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settlement_project.settings")

app = Celery("settlement_project", task_cls="persistence.requests:LeanTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.steps["worker"].add(WorkerHeartbeat)
app.autodiscover_tasks()
app.autodiscover_tasks(["persistence"], related_name="belt_tasks")
app.autodiscover_tasks(["persistence"], related_name="batch_tasks")


@worker_process_init.connect
def keep_collector_off_documents(**_: object) -> None:
    """Parsing a batch makes enough objects to have all of Django walked again.

    What is loaded by now lives for ever, and documents hold no cycles: freezing the
    one and collecting the other less often makes a drain a fifth faster.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
