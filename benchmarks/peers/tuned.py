"""A Celery task per combat as one writes it who knows Celery and PostgreSQL.

No ORM: prepared statements in three round trips, over a connection that each process
keeps, in autocommit around the one transaction. Messages are acknowledged late.
"""

from __future__ import annotations

import os
from functools import cache

from celery import Celery

from benchmarks.transaction import Settler

TASK = "tuned.settle"

app = Celery("tuned", broker=os.environ.get("REDIS_URL"), set_as_current=False)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    # A task is milliseconds: neither process is to wait for the parent.
    worker_prefetch_multiplier=16,
)


@cache
def settler() -> Settler:
    """Of this process, which the pool has forked before it asks."""
    return Settler(os.environ["DATABASE_URL"], os.environ["REDIS_URL"])


@app.task(name=TASK)
def settle(payload: str) -> None:
    settler().settle([payload])
