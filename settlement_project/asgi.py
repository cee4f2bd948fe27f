from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from persistence.worker import counts

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settlement_project.settings")
# Every request has a thread of its own here, and would keep a connection of its own.
os.environ.setdefault("SETTLEMENT_DATABASE_POOL", "10")

application = get_asgi_application()
counts.flush_in_background()
