"""Forget the per-minute counts of long ago; the dashboard shows a week."""

from __future__ import annotations

from combat_history.actions import retention
from combat_history.management.pruning import PruneCommand


class Command(PruneCommand):
    help = "Delete per-minute counts older than so many days."
    batches = staticmethod(retention.prune_counts)
    verb = "prune_counts"
    pruned = "counts"
    has_size = False
