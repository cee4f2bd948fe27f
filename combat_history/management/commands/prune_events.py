"""Forget events of long ago; what became true stays in history and ledger."""

from __future__ import annotations

from combat_history.actions import retention
from combat_history.management.pruning import PruneCommand


class Command(PruneCommand):
    help = "Delete published events older than so many days."
    batches = staticmethod(retention.prune_events)
    verb = "prune_events"
    pruned = "events"
    has_size = False
