"""Forget the fight logs of combats that finished long ago.

Combats that are pending or failed keep theirs; ledger and document stay in any case.
"""

from __future__ import annotations

from combat_history.actions import retention
from combat_history.management.pruning import PruneCommand


class Command(PruneCommand):
    help = "Delete the fight logs of settled combats older than so many days."
    batches = staticmethod(retention.prune_logs)
    verb = "prune_replays"
    pruned = "fight logs"
