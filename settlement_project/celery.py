"""The Celery application: `celery -A settlement_project worker -B`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settlement_project.settings")

app = Celery("settlement_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
