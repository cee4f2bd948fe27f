"""The admin: read-only history and records, the item catalogue, and the replay."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from combat_history.admin.batches.batches import ReplayBatchAdmin
from combat_history.admin.combats.happenings import SettlementEventAdmin
from combat_history.admin.combats.history import CombatHistoryAdmin
from combat_history.admin.combats.operations import OperationAdmin
from combat_history.admin.players.world import (
    BalanceTemplateAdmin,
    CharacterAdmin,
    InventoryItemAdmin,
    ItemTemplateAdmin,
)
from combat_history.admin.review.parked import ParkedOperationAdmin
from combat_history.admin.review.records import (
    AppliedOperationAdmin,
    LedgerLineAdmin,
    RejectedPayloadAdmin,
    SettlementAttemptAdmin,
    SettlementDiscrepancyAdmin,
    SettlementFailureAdmin,
)
from combat_history.admin.review.rules import ReviewRuleAdmin
from combat_history.admin.settlement.audit import AuditEntryAdmin
from combat_history.admin.settlement.mode import SettlementControlAdmin
from combat_history.admin.settlement.site_users import register as register_site_users
from combat_history.admin.settlement.tokens import ApiTokenAdmin
from combat_history.models import (
    ApiToken,
    AppliedOperation,
    AuditEntry,
    BalanceTemplate,
    Character,
    CombatHistory,
    InventoryItem,
    ItemTemplate,
    LedgerLine,
    Operation,
    ParkedOperation,
    RejectedPayload,
    ReplayBatch,
    ReviewRule,
    SettlementAttempt,
    SettlementControl,
    SettlementDiscrepancy,
    SettlementEvent,
    SettlementFailure,
)

admin.site.site_header = _("Combat settlement")
admin.site.site_title = _("Combat settlement")
admin.site.index_title = _("Overview")
admin.site.site_url = None
# The lists need the width; the first page names everything.
admin.site.enable_nav_sidebar = False
admin.site.index_template = "admin/combat_history/dashboard.html"

admin.site.register(CombatHistory, CombatHistoryAdmin)
admin.site.register(LedgerLine, LedgerLineAdmin)
admin.site.register(Operation, OperationAdmin)
admin.site.register(SettlementDiscrepancy, SettlementDiscrepancyAdmin)
admin.site.register(SettlementEvent, SettlementEventAdmin)
admin.site.register(SettlementAttempt, SettlementAttemptAdmin)
admin.site.register(SettlementFailure, SettlementFailureAdmin)
admin.site.register(RejectedPayload, RejectedPayloadAdmin)
admin.site.register(AppliedOperation, AppliedOperationAdmin)
admin.site.register(ParkedOperation, ParkedOperationAdmin)
admin.site.register(ReplayBatch, ReplayBatchAdmin)
admin.site.register(ReviewRule, ReviewRuleAdmin)
admin.site.register(AuditEntry, AuditEntryAdmin)
admin.site.register(SettlementControl, SettlementControlAdmin)
admin.site.register(ApiToken, ApiTokenAdmin)
admin.site.register(Character, CharacterAdmin)
admin.site.register(InventoryItem, InventoryItemAdmin)
admin.site.register(ItemTemplate, ItemTemplateAdmin)
admin.site.register(BalanceTemplate, BalanceTemplateAdmin)
register_site_users()
