"""What a replay does not do: for whom, to what, and how it says so."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
import redis
from django.contrib.auth.models import Permission, User
from django.db import connection

from combat_history.actions.replay import MAX_COMBATS, SkipReason, replay
from combat_history.models import (
    CombatHistory,
    Status,
)
from persistence.contract import redis_keys
from persistence.tasks import settle_combat, settle_inbox
from persistence.worker import inbox
from tests.support.admin import (
    LIST_URL,
    OFFER,
    REASON,
    REPLAY_URL,
    audit,
    in_inbox,
    logged_in,
    post_replay,
    status,
    told,
)
from tests.support.documents import HERO, make_document
from tests.support.factories import add_template
from tests.support.ids import new_session_id

pytestmark = pytest.mark.django_db(transaction=True)


def test_without_the_permission_replay_is_hidden_refused_and_audited(
    failed: UUID, viewer: User
) -> None:
    client = logged_in(viewer)
    for url in (LIST_URL, f"{LIST_URL}{failed}/change/"):
        response = client.get(url)
        assert response.status_code == 200
        assert not OFFER.search(response.content.decode())
    assert client.get(REPLAY_URL, {"session_id": str(failed)}).status_code == 403

    assert post_replay(client, failed).status_code == 403

    assert status(failed) == Status.FAILED
    assert not in_inbox(failed)
    assert audit(failed) == [f"replay denied: no permission; reason: {REASON}"]
    action = {"action": "replay_selected", "_selected_action": [str(failed)]}
    page = client.post(LIST_URL, action, follow=True).content.decode()
    assert not OFFER.search(page)
    assert status(failed) == Status.FAILED


def test_permission_alone_is_enough_for_a_viewer(failed: UUID, viewer: User) -> None:
    add_template("dragon_scale")
    viewer.user_permissions.add(Permission.objects.get(codename="replay_combat"))
    client = logged_in(viewer)
    for url in (LIST_URL, f"{LIST_URL}{failed}/change/"):
        assert OFFER.search(client.get(url).content.decode())
    assert post_replay(client, failed).status_code == 302
    settle_inbox()
    assert status(failed) == Status.PROCESSED


def test_replay_without_view_permission_is_refused(failed: UUID, db: None) -> None:
    user = User.objects.create_user("blind", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="replay_combat"))
    client = logged_in(user)
    assert client.get(REPLAY_URL, {"session_id": str(failed)}).status_code == 403
    assert post_replay(client, failed).status_code == 403
    assert status(failed) == Status.FAILED


def test_looking_changes_nothing(failed: UUID, operator: User) -> None:
    client = logged_in(operator)
    before = CombatHistory.objects.values().get(pk=failed)
    for url, data in (
        (LIST_URL, {}),
        (f"{LIST_URL}{failed}/change/", {}),
        (REPLAY_URL, {"session_id": str(failed), "reason": REASON}),
    ):
        assert client.get(url, data).status_code == 200
    assert CombatHistory.objects.values().get(pk=failed) == before
    assert audit(failed) == []
    assert not in_inbox(failed)


@pytest.mark.parametrize("reason", ["", "too short", " " * 20, "x" * 1001])
def test_replay_needs_a_reason(failed: UUID, operator: User, reason: str) -> None:
    response = post_replay(logged_in(operator), failed, reason=reason)
    assert response.status_code == 200
    assert response.context["form"].errors
    with pytest.raises(ValueError, match="10 to 1000"):
        replay([failed], actor=operator, reason=reason)
    assert status(failed) == Status.FAILED
    assert audit(failed) == []


@pytest.mark.parametrize("ids", [[], ["nonsense"], ["0" * 32] * (MAX_COMBATS + 1)])
def test_unusable_ids_are_a_bad_request(operator: User, ids: list[str]) -> None:
    client = logged_in(operator)
    data = {"session_id": ids, "reason": REASON}
    assert client.post(REPLAY_URL, data).status_code == 400
    assert client.get(REPLAY_URL, {"session_id": ids[:2]}).status_code in (400, 200)


def test_only_failed_combats_are_replayed(failed: UUID, operator: User) -> None:
    processed, voided, unknown = new_session_id(), new_session_id(), new_session_id()
    settle_combat(make_document(session_id=processed))
    CombatHistory.objects.create(
        session_id=voided,
        participant_ids=[HERO],
        result_payload={},
        settlement_status=Status.VOIDED,
    )
    result = replay([failed, processed, voided, unknown], actor=operator, reason=REASON)
    assert result.replayed == [failed]
    assert result.skipped == {
        processed: SkipReason.PROCESSED,
        voided: SkipReason.VOIDED,
        unknown: SkipReason.UNKNOWN,
    }
    assert status(processed) == Status.PROCESSED
    assert status(voided) == Status.VOIDED
    assert inbox.client().zrange(redis_keys.INBOX, 0, -1) == [str(failed).encode()]


def test_too_many_at_once_are_refused(operator: User) -> None:
    many = [new_session_id() for _ in range(MAX_COMBATS + 1)]
    with pytest.raises(ValueError, match="at most 500"):
        replay(many, actor=operator, reason=REASON)


def test_a_locked_combat_is_reported_audited_and_left_alone(
    failed: UUID, operator: User, redis_client: redis.Redis
) -> None:
    client = logged_in(operator)
    parameters = connection.get_connection_params()
    with psycopg.connect(
        **{
            k: parameters[k]
            for k in ("dbname", "user", "host", "port")
            if k in parameters
        }
    ) as other:
        other.execute(
            "SELECT 1 FROM combat_history WHERE session_id = %s FOR UPDATE", [failed]
        )
        response = post_replay(client, failed)
    assert response.status_code == 302
    assert "nothing was replayed" in told(response)[0]
    assert status(failed) == Status.FAILED
    assert not in_inbox(failed)
    (entry,) = audit(failed)
    assert entry.startswith("replay failed: OperationalError")
    assert entry.endswith(REASON)
