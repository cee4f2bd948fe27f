"""The tables; docs/reference/tables.md. The database enforces the rules named here."""

from __future__ import annotations

from combat_history.models.access import ApiToken
from combat_history.models.batch import ReplayBatch, ReplayBatchItem
from combat_history.models.economy import EconomyDay, EconomyEarner, EconomyProgress
from combat_history.models.events import EventPublication, SettlementEvent
from combat_history.models.history import (
    CombatHistory,
    CombatParticipant,
    CombatReplay,
    SettlementAttempt,
    SettlementFailure,
    Status,
)
from combat_history.models.ledger import (
    AppliedOperation,
    LedgerLine,
    ParkedOperation,
    RejectedPayload,
    ScenarioSession,
    SettlementDiscrepancy,
    operations_of,
    settled_amounts,
)
from combat_history.models.operation import Operation
from combat_history.models.review import (
    AuditEntry,
    CombatRedaction,
    CombatRevision,
    MinuteCount,
    ReplayRequest,
    SettlementControl,
    Triage,
    standing_document,
)
from combat_history.models.rules import ReviewRule
from combat_history.models.search import SearchWords
from combat_history.models.world import (
    BalanceTemplate,
    Character,
    ExternalId,
    InventoryItem,
    ItemTemplate,
    NamedBalance,
)

__all__ = [
    "ApiToken",
    "AppliedOperation",
    "AuditEntry",
    "BalanceTemplate",
    "Character",
    "CombatHistory",
    "CombatParticipant",
    "CombatRedaction",
    "CombatReplay",
    "CombatRevision",
    "EconomyDay",
    "EconomyEarner",
    "EconomyProgress",
    "EventPublication",
    "ExternalId",
    "InventoryItem",
    "ItemTemplate",
    "LedgerLine",
    "MinuteCount",
    "NamedBalance",
    "Operation",
    "ParkedOperation",
    "RejectedPayload",
    "ReplayBatch",
    "ReplayBatchItem",
    "ReplayRequest",
    "ReviewRule",
    "ScenarioSession",
    "SearchWords",
    "SettlementAttempt",
    "SettlementControl",
    "SettlementDiscrepancy",
    "SettlementEvent",
    "SettlementFailure",
    "Status",
    "Triage",
    "operations_of",
    "settled_amounts",
    "standing_document",
]
