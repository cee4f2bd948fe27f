"""The admin in tests: rows of every kind, and its pages as people open them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from combat_history.actions.audit import about
from combat_history.models import (
    ApiToken,
    AppliedOperation,
    AuditEntry,
    Character,
    CombatHistory,
    CombatParticipant,
    InventoryItem,
    LedgerLine,
    Operation,
    ParkedOperation,
    RejectedPayload,
    ReplayBatch,
    ReviewRule,
    SettlementAttempt,
    SettlementDiscrepancy,
    SettlementEvent,
    SettlementFailure,
    Status,
)
from persistence.contract import redis_keys
from persistence.worker import inbox
from tests.support.documents import HERO, SAMPLE_END, make_document, make_participant
from tests.support.factories import add_balance, add_character, add_item, add_template
from tests.support.ids import new_session_id

LIST_URL = "/admin/combat_history/combathistory/"
REPLAY_URL = f"{LIST_URL}replay/"
REASON = "The catalogue entry was added"
OFFER = re.compile(r"/replay/|replay_selected")
"""What a page holds that offers a replay."""

RECORDS = (
    LedgerLine,
    Operation,
    SettlementDiscrepancy,
    SettlementEvent,
    SettlementAttempt,
    SettlementFailure,
    RejectedPayload,
    AppliedOperation,
    ParkedOperation,
    ReplayBatch,
    AuditEntry,
    Character,
    InventoryItem,
    CombatHistory,
    ApiToken,
)
"""All that the admin shows but never changes."""


def logged_in(user: User) -> Client:
    """Reads English."""
    client = Client(headers={"accept-language": "en"})
    client.force_login(user)
    return client


def viewer(name: str = "viewer") -> User:
    """May look at everything, may change nothing."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="combat_history", codename__startswith="view_"
        )
    )
    return user


def add_combat(**over: Any) -> CombatHistory:
    session_id = over.pop("session_id", None) or new_session_id()
    document = make_document(session_id=session_id)
    values = {
        "participant_ids": [HERO],
        "finished_at": datetime.fromtimestamp(SAMPLE_END, UTC),
        "result_payload": document,
    }
    row = CombatHistory.objects.create(**{"session_id": session_id, **values, **over})
    CombatParticipant.objects.bulk_create(
        CombatParticipant(
            character_id=char_id, finished_at=row.finished_at, session_id=row.pk
        )
        for char_id in row.participant_ids
    )
    return row


def add_failed(code: str = "unknown_item", **over: Any) -> CombatHistory:
    return add_combat(settlement_status=Status.FAILED, failure_code=code, **over)


def with_status(status: Status) -> CombatHistory:
    now = datetime.now(UTC)
    return add_combat(
        settlement_status=status,
        settled_at=now if status is Status.PROCESSED else None,
        failure_code="poison" if status is Status.FAILED else None,
    )


def one_of_each() -> list[Any]:
    """A row of every kind, as a combat with all its trouble leaves them."""
    template = add_template(f"t{new_session_id().hex}")
    character = add_character(int(new_session_id().int % 10**12))
    balance = add_balance(f"b{new_session_id().hex}")
    item = add_item(character.pk, template.pk)
    combat = add_failed(participant_ids=[character.pk], failure_traceback="Trace")
    line = LedgerLine.objects.create(
        session_id=combat.pk,
        character_id=character.pk,
        kind="settlement",
        xp_delta=10,
        gold_delta=-5,
        xp_after=10,
        gold_after=0,
        items=[
            {
                "inventory_id": 1,
                "item_template_id": template.pk,
                "kind": "consumed",
                "delta": -2,
                "after": 3,
            }
        ],
    )
    lack = SettlementDiscrepancy.objects.create(
        session_id=combat.pk,
        character_id=character.pk,
        code="item_gone",
        inventory_id=7,
        wanted=2,
        applied=0,
    )
    attempt = SettlementAttempt.objects.create(session_id=combat.pk, worker="host:1")
    rejected = RejectedPayload.objects.create(
        session_id=combat.pk,
        code="payload_conflict",
        payload_sha256="0" * 64,
        errors=[{"path": "", "message": "another"}],
        raw=b"{}",
    )
    trade = Operation.objects.create(
        op_id=f"trade-{combat.pk}",
        id=new_session_id(),
        reason=REASON,
        sha256="0" * 64,
        document={"characters": {str(character.pk): {}}},
        answer={},
    )
    operation = AppliedOperation.objects.create(key=str(combat.pk), scope="inventory")
    parked = ParkedOperation.objects.create(
        scope="inventory",
        character_id=character.pk,
        op_id=str(combat.pk),
        operation={"op": "unequip"},
        code="item_gone",
    )
    batch = ReplayBatch.objects.create(
        selection={"kind": "group", "code": "unknown_item"},
        actor_id=1,
        actor_name="anna",
        reason=REASON,
    )
    entry = AuditEntry.objects.create(
        actor_name="anna",
        verb="replay",
        target_type="combat",
        target_id=str(combat.pk),
        outcome="done",
        reason=REASON,
    )
    rule = ReviewRule.objects.create(amount="gold", span="fight", limit=10**9)
    token = ApiToken.objects.create(
        name=template.pk, digest=template.pk, scopes=["results:read"]
    )
    failure = SettlementFailure.objects.get(session_id=combat.pk)
    event = SettlementEvent.objects.create(
        kind="combat.failed",
        session_id=combat.pk,
        character_ids=[character.pk],
        body={"code": "unknown_item"},
    )
    records = [line, lack, attempt, rejected, trade, operation]
    others = [character, item, template, parked, batch, entry, failure, rule, token]
    others.append(event)
    return [combat, *records, *others, balance]


def change_url(row: Any) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return reverse(name, args=[row.pk])


def list_url(model: Any) -> str:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return reverse(name)


def body(client: Client, url: str, data: dict[str, str] | None = None) -> str:
    response = client.get(url, data or {})
    assert response.status_code == 200, url
    return response.content.decode()


def count_queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        body(client, url)
    return len(queries)


def shown_ids(client: Client, **query: str) -> set[UUID]:
    response = client.get(LIST_URL, query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


def unknown_loot(**over: Any) -> dict[str, Any]:
    """A fight for 10 XP and 5 gold whose loot is not in the catalogue."""
    part = make_participant(
        xp_gained=10,
        gold_gained=5,
        items_gained=[{"item_template_id": "dragon_scale", "qty": 3}],
    )
    return make_document({str(HERO): part}, **over)


def post_replay(client: Client, *session_ids: UUID, reason: str = REASON) -> Any:
    data = {"session_id": [str(pk) for pk in session_ids], "reason": reason}
    return client.post(REPLAY_URL, data)


def told(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def status(session_id: UUID) -> str:
    return CombatHistory.objects.get(pk=session_id).settlement_status


def audit(target: UUID | int) -> list[str]:
    """What the audit says of a target, oldest first."""
    entries = about(str(target)).order_by("id")
    return [
        f"{entry.verb} {entry.outcome}: {entry.detail}; reason: {entry.reason}"
        for entry in entries
    ]


def in_inbox(session_id: UUID) -> bool:
    return inbox.client().zscore(redis_keys.INBOX, str(session_id)) is not None
