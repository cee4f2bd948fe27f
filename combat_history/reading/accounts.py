"""Restores accounts: a login finds `ac:{char_id}` again after Redis has lost it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Exists, OuterRef
from redis.exceptions import NoScriptError

from combat_history.models import (
    Character,
    CombatHistory,
    CombatParticipant,
    ScenarioSession,
    Status,
)
from combat_history.reading import redis_clients
from persistence.contract import redis_keys
from persistence.contract.moments import FIRST_MS
from persistence.engine.scripts import script


def restore_account(char_id: int, *, as_json: bool = False) -> bool:
    """Rebuild a missing account cache from PostgreSQL; whether anything was missing.

    What a live account holds stands; one that only a hand-off or a switch has written
    to is completed. An open travel or quest goes on, its progress with it. Harmless at
    any time, also beside a hand-off or a switch. `as_json`: where there is no account,
    RedisJSON is made, which the server must have. Raises Character.DoesNotExist.
    """
    call = _known(char_id).call(as_json=as_json)
    client = redis_clients.client()
    restore = script("restore")
    try:
        return bool(client.evalsha(restore.sha1, *call))
    except NoScriptError:
        return bool(client.eval(restore.source, *call))


async def arestore_account(char_id: int, *, as_json: bool = False) -> bool:
    """The asynchronous twin of `restore_account`."""
    call = (await sync_to_async(_known)(char_id)).call(as_json=as_json)
    client = redis_clients.async_client()
    restore = script("restore")
    try:
        return bool(await client.evalsha(restore.sha1, *call))
    except NoScriptError:
        return bool(await client.eval(restore.source, *call))


@dataclass(frozen=True, slots=True)
class _Known:
    """An account as far as PostgreSQL knows it."""

    character: Character
    last_combat: CombatParticipant | None
    scenario: ScenarioSession | None

    def call(self, *, as_json: bool) -> list[Any]:
        """Number of keys, keys and arguments of restore.lua."""
        keys = [redis_keys.account(self.character.pk)]
        last_combat: list[Any] = ["", ""]
        scenario: list[Any] = [""]
        if self.last_combat is not None:
            last_combat = [
                str(self.last_combat.session_id),
                int(self.last_combat.finished_at.timestamp()),
            ]
        if self.scenario is not None:
            keys.append(redis_keys.scenario(self.scenario.session_id))
            scenario = [str(self.scenario.session_id), "version", self.scenario.version]
            for field in self.scenario.progress.items():
                scenario += field
        return [
            len(keys),
            *keys,
            "json" if as_json else "",
            self.character.hp,
            self.character.energy,
            _milliseconds(self.character.vitals_at),
            self.character.location,
            self.character.state,
            *last_combat,
            *scenario,
        ]


def _known(char_id: int) -> _Known:
    # One that was refused may lie in the future, and would hide every real one.
    processed = CombatHistory.objects.filter(
        pk=OuterRef("session_id"), settlement_status=Status.PROCESSED
    )
    fights = CombatParticipant.objects.filter(Exists(processed), character_id=char_id)
    scenarios = ScenarioSession.objects.filter(character_id=char_id, closed_at=None)
    return _Known(
        Character.objects.get(pk=char_id),
        fights.order_by("-finished_at", "-session_id").first(),
        scenarios.order_by("-saved_at", "-session_id").first(),
    )


def _milliseconds(moment: datetime | None) -> int | str:
    """Nothing of a moment that was stored in another unit, and is refused since."""
    milliseconds = round(moment.timestamp() * 1000) if moment else 0
    return milliseconds if milliseconds >= FIRST_MS else ""
