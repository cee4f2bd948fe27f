"""The site's settings, but a browser may keep static files, as in production."""

from __future__ import annotations

from settlement_project.settings import *  # noqa: F403

WHITENOISE_MAX_AGE = 60
