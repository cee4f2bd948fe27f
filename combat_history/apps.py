from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CombatHistoryConfig(AppConfig):
    name = "combat_history"
    verbose_name = _("Combat history")
