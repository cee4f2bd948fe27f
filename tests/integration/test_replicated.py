"""Where replicas are to have it, people are told of no success that none has."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from combat_history.actions.adjust import adjust, give
from combat_history.actions.resubmit import resubmit
from combat_history.models import AuditEntry, CombatHistory, RejectedPayload
from persistence.tasks import settle_combat, settle_inbox, task_sync_state
from persistence.worker.inbox import NotReplicated
from tests.support.admin import REASON
from tests.support.documents import HERO, PELT, make_document
from tests.support.operations import pieces

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture
def admin() -> User:
    return User.objects.create_superuser("anna")


def outcomes() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("outcome", flat=True))


def test_a_correction_that_no_replica_has_is_not_queued_for_sure(
    admin: User, settings: Settings
) -> None:
    gift = give("gift", PELT, 3)
    settings.SETTLEMENT_SUBMIT_REPLICAS = 1
    with pytest.raises(NotReplicated):
        adjust(HERO, gift, actor=admin, reason=REASON)
    assert outcomes() == ["failed"]

    settings.SETTLEMENT_SUBMIT_REPLICAS = 0
    assert adjust(HERO, gift, actor=admin, reason=REASON)
    task_sync_state("inventory", HERO)
    assert (pieces(PELT), outcomes()) == (3, ["failed", "done"])


def test_a_fight_that_no_replica_has_is_not_handed_over_for_sure(
    admin: User, settings: Settings
) -> None:
    document = make_document()
    settle_combat({**document, "session_id": "uuid-555-666"})
    rejected = RejectedPayload.objects.get()
    settings.SETTLEMENT_SUBMIT_REPLICAS = 1
    with pytest.raises(NotReplicated):
        resubmit(rejected.pk, json.dumps(document), actor=admin, reason=REASON)
    assert outcomes() == ["failed"]

    settings.SETTLEMENT_SUBMIT_REPLICAS = 0
    resubmit(rejected.pk, json.dumps(document), actor=admin, reason=REASON)
    settle_inbox()
    assert CombatHistory.objects.get().settlement_status == "processed"
    assert outcomes() == ["failed", "done"]
