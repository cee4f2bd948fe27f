"""GET /api/events: what became true, in the order of the ids, in keyset pages.

A page ends at the horizon: whatever commits later has a higher id than all of it.
"""

from __future__ import annotations

from urllib.parse import urlencode

from django.db import connection

from combat_history.api.schemas import EventPage
from combat_history.models import SettlementEvent
from persistence.contract.events import Event

DEFAULT_LIMIT = 100
MAX_LIMIT = 500


def page(after: int, limit: int, path: str) -> EventPage:
    """One page; `path` is the address that the next page's query is added to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT settlement_events_horizon()")
        ((horizon,),) = cursor.fetchall()
    # In a statement of its own: it sees all that had committed by the horizon.
    rows = SettlementEvent.objects.filter(pk__gt=after, pk__lte=horizon).order_by("pk")
    # One more than asked for tells whether there is a next page.
    found = [Event(**row) for row in rows.values(*Event.model_fields)[: limit + 1]]
    items = found[:limit]
    next_page = None
    if len(found) > limit:
        next_page = f"{path}?{urlencode({'after': items[-1].id, 'limit': limit})}"
    return EventPage(items=items, next=next_page, horizon=horizon)
