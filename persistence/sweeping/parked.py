"""Asks again for saves of parked operations whose retry nobody has answered."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from combat_history.models import ParkedOperation
from persistence.worker import rings

UNANSWERED_AFTER = timedelta(seconds=5)
"""A save that was asked for is in work by now, or its message is lost."""


def ask_unanswered(limit: int = 1000) -> int:
    """Ask again for saves whose message was lost; of how many players."""
    late = ParkedOperation.objects.filter(
        resolved_at=None, retry_requested_at__lt=timezone.now() - UNANSWERED_AFTER
    )
    players = late.order_by("scope", "character_id").values_list(
        "scope", "character_id"
    )
    found = list(players.distinct()[:limit])
    rings.ask_for_saves(found)
    return len(found)
