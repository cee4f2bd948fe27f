"""A Celery application as it comes: `celery -A benchmarks.naive worker`."""

from __future__ import annotations

import os

from celery import Celery

TASK = "naive.settle"

SETTINGS = "benchmarks.naive_settings"
"""For DJANGO_SETTINGS_MODULE of the worker; not of whoever imports this."""

app = Celery(
    "naive",
    broker=os.environ.get("REDIS_URL"),
    include=["benchmarks.naive_task"],
    set_as_current=False,
)
