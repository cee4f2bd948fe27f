"""Admins and failed combats, for the tests of what admins do to them."""

from __future__ import annotations

import copy
from uuid import UUID

from combat_history.models import CombatHistory, ReplayRequest
from persistence.contract.document import Document
from persistence.tasks import settle_combat
from tests.support.documents import PELT

REASON = "the catalogue was fixed"


def fail(document: Document) -> UUID:
    settle_combat(document)
    combat = CombatHistory.objects.get(pk=document["session_id"])
    assert combat.settlement_status == "failed"
    return combat.session_id


def status(session_id: UUID) -> str:
    return CombatHistory.objects.get(pk=session_id).settlement_status


def request_of(session_id: UUID) -> ReplayRequest:
    return ReplayRequest.objects.filter(session_id=session_id).latest("id")


def corrected(document: Document) -> Document:
    """With loot that is in the catalogue."""
    better = copy.deepcopy(document)
    gained = better["participants"]["101"]["changes"]["items_gained"]
    gained[0]["item_template_id"] = PELT
    return better
