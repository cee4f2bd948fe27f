"""Scenario sessions as the engine and switch.lua leave them in Redis."""

from __future__ import annotations

from typing import Any

import redis

from combat_history.models import ParkedOperation, ScenarioSession
from persistence.contract import redis_keys
from persistence.protocols import Saved
from persistence.savers.scenario_saver import ScenarioStateSaver
from persistence.worker.transactions import open_cursor
from tests.support.documents import HERO
from tests.support.ids import new_session_id

ACCOUNT = redis_keys.account(HERO)


def new_id() -> str:
    return str(new_session_id())


def write(
    client: redis.Redis, session_id: str, version: Any = 1, **fields: Any
) -> None:
    mapping: dict[Any, Any] = {"version": version, "node": f"step {version}", **fields}
    client.hset(redis_keys.scenario(session_id), mapping=mapping)


def name_open(client: redis.Redis, session_id: str, char_id: int = HERO) -> None:
    client.hset(redis_keys.account(char_id), "scenario_session_id", session_id)


def name_closing(client: redis.Redis, *session_ids: str) -> None:
    """As switch.lua leaves the account."""
    client.hset(ACCOUNT, "scenario_closing_session_id", ",".join(session_ids))
    client.hdel(ACCOUNT, "scenario_session_id")


def save(char_id: int = HERO, *, confirm: bool = True) -> Saved:
    with open_cursor() as cursor:
        saved = ScenarioStateSaver(cursor).save(char_id)
    if confirm:
        saved.confirm()
    return saved


def row(session_id: str) -> ScenarioSession:
    return ScenarioSession.objects.get(pk=session_id)


def parked(session_id: str) -> ParkedOperation:
    return ParkedOperation.objects.get(scope="scenario", op_id=session_id)


def counts(**over: int) -> dict[str, int]:
    return {"saved": 0, "closed": 0, "parked": 0, "absent": 0, **over}
