"""A document that kills whoever touches it takes nothing else down."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from persistence.dispatcher import SyncDispatcher
from tests.chaos.load import make_fights, make_journal, wait_settled
from tests.chaos.poison import MARKER
from tests.chaos.rig import ServerPair, staff, wait_for_sweep
from tests.support.ledger_oracle import Oracle

FIGHTS = 100


def test_a_poison_document_fails_alone_and_all_others_are_processed(
    pair: ServerPair, tmp_path: Path
) -> None:
    # The staff of another test would settle what this one's is to die of.
    pair.dismiss_all()
    journal = make_journal(players=30)
    fights = make_fights(journal, FIGHTS, random.Random(9))
    poison = journal.offer(replace(fights[FIGHTS // 2], failure="poison"))
    for part in poison.document["participants"].values():
        part["ui_report"] = {MARKER: True}
    env = pair.environment(
        DJANGO_SETTINGS_MODULE="tests.chaos.poison_settings",
        SETTLEMENT_LEASE_MS="400",
    )
    with (
        closing(Oracle(pair.database_url(), pair.redis_url())) as oracle,
        closing(SyncDispatcher(pair.redis_url())) as engine,
    ):
        oracle.add_world(journal)
        for fight in journal.offered.values():
            engine.submit_combat_sync(fight.document)
            journal.accepted.add(fight.session_id)
        # All are due when the worker comes: one batch holds them and the poison.
        with staff(pair, tmp_path, env) as hired:
            wait_settled(oracle, journal)
            wait_for_sweep(hired)
            assert hired.worker.is_alive
        (tries,) = oracle.database.execute(
            "SELECT count(*) AS n FROM settlement_attempts "
            "WHERE session_id = %s AND ended_at IS NULL",
            [poison.session_id],
        )
        assert tries["n"] == 5
