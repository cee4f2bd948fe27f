"""A planner that meets documents which kill: an app that a test's worker installs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from typing import Any

from django.apps import AppConfig

MARKER = "chaos_poison"
"""Key of a ui_report: planning such a combat ends its process, as a segfault would."""


class PoisonConfig(AppConfig):
    name = "tests.chaos.poison"

    def ready(self) -> None:
        from persistence.savers import combat_saver

        names = vars(combat_saver)
        plan_batch = names["plan_batch"]

        def plan(combats: Iterable[Any], *args: Any, **options: Any) -> Any:
            combats = list(combats)
            if any(map(_is_poison, combats)):
                os.kill(os.getpid(), signal.SIGKILL)
            return plan_batch(combats, *args, **options)

        names["plan_batch"] = plan


def _is_poison(combat: Any) -> bool:
    players = combat.payload.players().values()
    return any(MARKER in (part.ui_report.model_extra or {}) for part in players)
