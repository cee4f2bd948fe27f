from __future__ import annotations

from django import template
from django.db import DatabaseError, InterfaceError

from persistence.worker import mode as settlement

register = template.Library()


@register.simple_tag
def settlement_state() -> settlement.State | None:
    """None where it cannot be told: the page says so by itself then."""
    try:
        return settlement.read()
    except (DatabaseError, InterfaceError):
        return None
