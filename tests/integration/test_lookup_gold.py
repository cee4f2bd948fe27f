"""Look-ups tell the gold that the ledger moved, wherever they find it."""

from __future__ import annotations

import redis

from combat_history.models import Character
from tests.conftest import Settle
from tests.support.documents import HERO, make_document, make_participant
from tests.support.lookups import Find


def test_a_penalty_is_told_as_it_was_taken(
    find: Find, settle_here: Settle, redis_client: redis.Redis
) -> None:
    Character.objects.filter(pk=HERO).update(gold=30)
    document = make_document({str(HERO): make_participant(gold_gained=-100)})
    settle_here(document)

    def told() -> int:
        found = find(document["session_id"], HERO)
        assert found.outcome is not None
        return found.outcome.gold

    assert told() == -30
    # PostgreSQL is asked.
    redis_client.flushdb()
    assert told() == -30
    # A duplicate has its effects repeated.
    redis_client.flushdb()
    settle_here(document)
    assert told() == -30
