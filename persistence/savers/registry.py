"""The registry of Savers by scope: `SAVER_REGISTRY[scope](cursor).save(char_id)`.

The worker is given its Savers from here, and knows none by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from django.conf import settings
from psycopg import Cursor

from persistence.protocols import Saver, SyncScope
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


def combat_saver(cursor: Cursor[Row]) -> CombatStateSaver:
    """The Saver of combats with the policy and the keys of the settings."""
    return CombatStateSaver(
        cursor,
        fail_on_shortage=settings.SETTLEMENT_SHORTAGES == "fail",
        keys=settings.SETTLEMENT_ENGINE_KEYS,
    )


@contextmanager
def open_combat_saver() -> Iterator[CombatStateSaver]:
    """One durable transaction, and a Saver of combats inside it."""
    with open_cursor() as cursor:
        yield combat_saver(cursor)
