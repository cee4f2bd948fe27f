"""celery-batches: a Celery task that settles a hundred messages in one transaction."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

from celery import Celery
from celery_batches import Batches, SimpleRequest

from benchmarks.transaction import Settler

TASK = "batches.settle"
BATCH_SIZE = 100
FLUSH_SECONDS = 0.05

app = Celery("batches", broker=os.environ.get("REDIS_URL"))
app.conf.update(
    task_ignore_result=True,
    # The parent has to hold a full batch for each process.
    worker_prefetch_multiplier=BATCH_SIZE,
)


@cache
def settler() -> Settler:
    """Of this process, which the pool has forked before it asks."""
    return Settler(os.environ["DATABASE_URL"], os.environ["REDIS_URL"])


@app.task(name=TASK, base=Batches, flush_every=BATCH_SIZE, flush_interval=FLUSH_SECONDS)
def settle(requests: Sequence[SimpleRequest]) -> None:
    settler().settle(request.args[0] for request in requests)
