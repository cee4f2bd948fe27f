from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from persistence.worker import counts

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settlement_project.settings")
# Every request has a thread of its own here, and would keep a connection of its own.
os.environ.setdefault("SETTLEMENT_DATABASE_POOL", "10")

django_application = get_asgi_application()

# It uses the API's own answers, and those the models, which are loaded now.
from settlement_project.checks import warn_of_tokens  # noqa: E402
from settlement_project.gate import Gate  # noqa: E402

application = Gate(django_application)
counts.flush_in_background()
warn_of_tokens()
