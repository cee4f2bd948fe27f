"""Which Saver saves what: `SAVER_REGISTRY[scope](cursor).save(char_id)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from psycopg import Cursor

from persistence.protocols import Saver, SyncScope
from persistence.savers.cleanup_saver import CleanupStateSaver
from persistence.savers.combat_saver import CombatStateSaver
from persistence.savers.inventory_saver import InventoryStateSaver
from persistence.savers.scenario_saver import ScenarioStateSaver
from persistence.savers.vitals_saver import VitalsStateSaver
from persistence.worker.sql import Row

SAVER_REGISTRY: Mapping[SyncScope, Callable[[Cursor[Row]], Saver]] = {
    SyncScope.COMBAT_RESULT: CombatStateSaver,
    SyncScope.INVENTORY: InventoryStateSaver,
    SyncScope.VITALS: VitalsStateSaver,
    SyncScope.SCENARIO: ScenarioStateSaver,
    SyncScope.CLEANUP: CleanupStateSaver,
}
