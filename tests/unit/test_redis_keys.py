"""Redis keys, one by one: other programs spell them too."""

from __future__ import annotations

from uuid import UUID

from persistence.contract import redis_keys

ID = UUID("0192F3A4-5B6C-7D8E-9F01-555666777888")
TEXT = "0192f3a4-5b6c-7d8e-9f01-555666777888"


def test_live_session() -> None:
    assert redis_keys.session(ID) == f"cs:{TEXT}"


def test_account() -> None:
    assert redis_keys.account(101) == "ac:101"


def test_inbox() -> None:
    assert redis_keys.INBOX == "combat:inbox"


def test_result() -> None:
    assert redis_keys.result(ID) == f"combat:result:{TEXT}"


def test_doorbell() -> None:
    assert redis_keys.DOORBELL == "combat:doorbell"


def test_tombstone() -> None:
    assert redis_keys.tombstone(ID) == f"combat:result_cache:{TEXT}"


def test_active_sessions() -> None:
    assert redis_keys.ACTIVE == "combat:active"


def test_belts() -> None:
    assert redis_keys.belts_ready(ID) == f"combat:belts_ready:{TEXT}"
    assert redis_keys.BELTS_READY_TTL_SECONDS == 60
    assert redis_keys.BELTS_ORPHANED == "combat:belts_orphaned"


def test_conflicting_documents() -> None:
    assert redis_keys.CONFLICT_FIELD_PREFIX == "conflict:"
    assert redis_keys.MAX_CONFLICTS_HELD == 5


def test_lives() -> None:
    assert redis_keys.FINISHED_SESSION_TTL_SECONDS == 300
    assert redis_keys.DAY_SECONDS == 86_400


def test_events() -> None:
    assert redis_keys.EVENTS == "combat:events"


def test_epoch() -> None:
    assert redis_keys.EPOCH == "combat:epoch"


def test_counter_of_a_dispatcher() -> None:
    assert redis_keys.engine("name") == "combat:engine:name"
