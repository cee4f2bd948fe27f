"""The registry of Savers by scope, the game's own among them, and of its hooks.

The worker is given its Savers from here, and knows none by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from django.conf import settings
from django.utils.module_loading import import_string
from psycopg import Cursor

from persistence.protocols import Hook, Saver, SyncScope
from persistence.savers.cleanup_saver import CleanupStateSaver
from persistence.savers.combat_saver import CombatStateSaver
from persistence.savers.inventory_saver import InventoryStateSaver
from persistence.savers.scenario_saver import ScenarioStateSaver
from persistence.savers.vitals_saver import VitalsStateSaver
from persistence.worker.sql import Row
from persistence.worker.transactions import open_cursor

SAVER_REGISTRY: Mapping[SyncScope, Callable[[Cursor[Row]], Saver]] = {
    SyncScope.COMBAT_RESULT: CombatStateSaver,
    SyncScope.INVENTORY: InventoryStateSaver,
    SyncScope.VITALS: VitalsStateSaver,
    SyncScope.SCENARIO: ScenarioStateSaver,
    SyncScope.CLEANUP: CleanupStateSaver,
}


def saver_of(scope: str) -> Callable[[Cursor[Row]], Saver]:
    """The Saver of a scope. Raises ValueError where there is none."""
    if named := settings.SETTLEMENT_SAVERS.get(scope):
        own: Callable[[Cursor[Row]], Saver] = import_string(named)
        return own
    try:
        return SAVER_REGISTRY[SyncScope(scope)]
    except ValueError:
        raise ValueError(f"SETTLEMENT_SAVERS names no Saver of {scope}") from None


def hooks() -> list[Hook]:
    """The game's own, in the order of the setting."""
    return [import_string(named)() for named in settings.SETTLEMENT_HOOKS]


def combat_saver(cursor: Cursor[Row]) -> CombatStateSaver:
    """The Saver of combats with the policy and the keys of the settings."""
    return CombatStateSaver(
        cursor,
        fail_on_shortage=settings.SETTLEMENT_SHORTAGES == "fail",
        keys=settings.SETTLEMENT_ENGINE_KEYS,
        hooks=hooks(),
    )


@contextmanager
def open_combat_saver() -> Iterator[CombatStateSaver]:
    """One durable transaction, and a Saver of combats inside it."""
    with open_cursor() as cursor:
        yield combat_saver(cursor)
