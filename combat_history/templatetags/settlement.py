from __future__ import annotations

from django import template
from django.db import DatabaseError, InterfaceError

from combat_history.actions import mode as control

register = template.Library()


@register.simple_tag
def settlement_state() -> control.State | None:
    """None where it cannot be told: the page says so by itself then."""
    try:
        return control.read()
    except (DatabaseError, InterfaceError):
        return None
