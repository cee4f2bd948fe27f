"""The Celery application: `celery -A settlement_project worker -B`."""

from __future__ import annotations

import gc
import os

from celery import Celery
from celery.signals import worker_process_init
from kombu.transport import TRANSPORT_ALIASES

from settlement_project.liveness import WorkerHeartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settlement_project.settings")
# Celery would run Django's checks, which load the admin and the API, and tell nobody
# what they find: half of the time a worker takes to start. `check` and `doctor` tell.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

# Transports of ours, which read each message before Celery does: docs/decisions/0010.
# By name: without celery[redis] a check says so, instead of this import.
TRANSPORT_ALIASES.update(
    redis="persistence.worker.intake.transports:RedisTransport",
    rediss="persistence.worker.intake.transports:RedisTransport",
    sentinel="persistence.worker.intake.transports:SentinelTransport",
    amqp="persistence.worker.intake.transports:AmqpTransport",
    pyamqp="persistence.worker.intake.transports:AmqpTransport",
    amqps="persistence.worker.intake.transports:AmqpSslTransport",
)

app = Celery(
    "settlement_project",
    task_cls="persistence.worker.intake.requests:LeanTask",
    amqp="persistence.worker.routing:OpenAmqp",
)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.steps["worker"].add(WorkerHeartbeat)
# `tasks` of the installed apps; what is deeper is named.
app.autodiscover_tasks()
app.autodiscover_tasks(["persistence.belts"])
app.autodiscover_tasks(["persistence.worker"], related_name="unreadable")
app.autodiscover_tasks(["combat_history.actions"], related_name="batch_tasks")
app.autodiscover_tasks(["combat_history.insight"], related_name="usual")
app.autodiscover_tasks(["persistence.savers"], related_name="economy")


@worker_process_init.connect
def keep_collector_off_documents(**_: object) -> None:
    """Parsing a batch makes enough objects to have all of Django walked again.

    What is loaded by now lives for ever, and documents hold no cycles: freezing the
    one and collecting the other less often makes a drain a fifth faster.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
