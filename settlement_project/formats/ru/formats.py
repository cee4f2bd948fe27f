from __future__ import annotations

from settlement_project.formats import *  # noqa: F403
