"""What a drain may claim: all, nothing, or what was accepted before draining began."""

from __future__ import annotations

from combat_history.actions import mode as control
from combat_history.actions.mode import Mode
from persistence.worker import inbox
from persistence.worker.inbox import Entry


def claim(limit: int) -> tuple[list[Entry], bool]:
    """`inbox.claim` as far as the mode of settlement allows.

    Whoever finds nothing left of what is to be drained pauses settlement.
    """
    state = control.state()
    if state.mode is Mode.RUNNING:
        return inbox.claim(limit)
    if state.mode is Mode.DRAINING and state.since is not None:
        until_ms = int(state.since.timestamp() * 1000)
        if inbox.accepted_before(until_ms):
            return inbox.claim(limit, until_ms)
        control.end_draining(state.since)
    return [], False
