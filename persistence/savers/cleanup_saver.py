"""CleanupStateSaver: the sweep, which puts back what was lost or stuck."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import redis
from billiard.exceptions import SoftTimeLimitExceeded

from persistence.belts.orphans import release_orphaned
from persistence.protocols import Saved
from persistence.sweeping import accounts, intents, parked, rows, sessions, tombstones
from persistence.worker import swept
from persistence.worker.transience import transience

if TYPE_CHECKING:
    from psycopg import Cursor

    from persistence.worker.sql import Row

logger = logging.getLogger(__name__)

# In this order: intents that one case notes are sent by `intents_sent` after it.
CASES: Mapping[str, Callable[[], int]] = {
    "pending_returned": rows.return_pending,
    "results_handed_off": sessions.hand_off_unsent,
    "results_missing": sessions.report_missing,
    "combats_abandoned": sessions.force_abandoned,
    "accounts_closing": accounts.note_closing,
    "accounts_freed": accounts.free_orphans,
    "intents_sent": intents.send_overdue,
    "belts_released": release_orphaned,
    "replays_asked": parked.ask_unanswered,
    "undone_told": tombstones.raise_undone,
    "tombstones_untrue": tombstones.forget_untrue,
}
"""Kind of loss -> what puts it back, and how often it did; docs/reference/codes.md."""


class CleanupStateSaver:
    """Finds lost work; settles nothing itself. Harmless to run twice at once."""

    def __init__(self, cursor: Cursor[Row] | None = None) -> None:
        self._cursor = cursor

    def save(self, char_id: int) -> Saved:
        """The whole sweep, after the caller's commit: each case has its own doors."""
        return Saved(confirm=self.sweep, drain=True)

    def sweep(self) -> dict[str, int]:
        """One pass; how many of each kind were put back.

        A case that fails takes no other down; the first error leaves at the end. Where
        Redis or PostgreSQL is away, or time is up, that leaves at once, and the next
        sweep begins behind the case that this one was at.
        """
        began = swept.now_us()
        found: dict[str, int] = {}
        failed: Exception | None = None
        for kind in _behind(swept.ended_at()):
            swept.enter(kind)
            try:
                found[kind] = CASES[kind]()
            except (redis.ConnectionError, redis.TimeoutError, SoftTimeLimitExceeded):
                raise  # the others would meet the same
            except Exception as error:
                if transience(error):
                    raise
                logger.exception("sweep", extra={"kind": kind})
                found[kind] = 0
                failed = failed or error
        if failed is not None:
            raise failed
        swept.note(began)
        return found


def _behind(ended_at: str) -> list[str]:
    """All cases: a slow one must not keep those behind it waiting for ever."""
    kinds = list(CASES)
    first = kinds.index(ended_at) + 1 if ended_at in kinds else 0
    return [*kinds[first:], *kinds[:first]]
