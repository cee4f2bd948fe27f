from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CombatHistoryConfig(AppConfig):
    name = "combat_history"
    verbose_name = _("Combat history")

    def ready(self) -> None:
        # Their models are there only now.
        from combat_history.actions import sign_in, user_audit

        sign_in.watch()
        user_audit.watch()
