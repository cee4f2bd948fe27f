"""Forget the bytes of rejected payloads that were seen last long ago.

Code, errors and counts stay; what is forgotten can be handed over no more.
"""

from __future__ import annotations

from combat_history.actions import retention
from combat_history.management.pruning import PruneCommand


class Command(PruneCommand):
    help = "Delete the bytes of rejected payloads not seen for so many days."
    batches = staticmethod(retention.prune_rejected)
    verb = "prune_rejected"
    pruned = "rejected payloads"
    gone = "emptied"
