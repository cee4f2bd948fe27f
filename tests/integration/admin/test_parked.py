"""Parked operations in the admin: seen, retried, discarded, and accounted for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone

from combat_history.actions.parked import (
    MAX_OPERATIONS,
    Action,
    Decision,
    SkipReason,
    discard,
    retry,
)
from combat_history.admin.review.parked_codes import CODES
from combat_history.models import ParkedOperation
from persistence.contract import redis_keys
from persistence.contract.errors import ParkCode
from persistence.sweeping.parked import UNANSWERED_AFTER, ask_unanswered
from persistence.worker import inbox, intents
from tests.support.admin import REASON, audit, change_url, list_url, logged_in, told
from tests.support.documents import HERO, PELT, op
from tests.support.factories import add_item
from tests.support.operations import (
    parked,
    pieces,
    queue,
    rows,
    save,
)
from tests.support.worker import database_url

pytestmark = pytest.mark.usefixtures("world")

APP = "combat_history"
LIST = "/admin/combat_history/parkedoperation/"
DECISIONS: dict[str, Callable[..., Decision]] = {"retry": retry, "discard": discard}
EACH = pytest.mark.parametrize("action", list(Action))


def permission_of(action: Action) -> Permission:
    return Permission.objects.get(codename=action.permission.removeprefix(f"{APP}."))


@pytest.fixture
def grown() -> ParkedOperation:
    """An operation on a row that is not there, and one that waits for it."""
    queue(
        op("<b>first</b>", "remove", inventory_id=70, qty=1),
        op("second", "remove", inventory_id=70, qty=1),
    )
    save()
    assert parked() == {"<b>first</b>": "item_gone", "second": "blocked"}
    return ParkedOperation.objects.get(op_id="<b>first</b>")


def url(action: str) -> str:
    return f"{LIST}{action}/"


def post(client: Client, action: str, *pks: object, reason: str = REASON) -> Any:
    return client.post(url(action), {"id": [str(pk) for pk in pks], "reason": reason})


def asked_for() -> list[bytes]:
    return inbox.client().zrange(redis_keys.INTENTS, 0, -1)  # type: ignore[return-value]


def messages() -> int:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        length: int = broker.llen("saves")
    return length


def state(row: ParkedOperation) -> tuple[bool, str | None]:
    row.refresh_from_db()
    return row.retry_requested_at is not None, row.resolution


def test_a_retry_asks_for_a_save_that_applies_it_and_what_waited(
    client: Client, grown: ParkedOperation, operator: User
) -> None:
    add_item(HERO, PELT, 70, quantity=3)
    page = client.get(url("retry"), {"id": grown.pk}).content.decode()
    assert "others wait for it" in page
    assert "&lt;b&gt;first&lt;/b&gt;" in page
    assert state(grown) == (False, None)

    response = post(client, "retry", grown.pk)

    assert response.status_code == 302
    assert told(response) == ["1 operation is tried again."]
    assert state(grown) == (True, None)
    assert asked_for() == [f"inventory:{HERO}".encode()]
    assert messages() == 1
    assert audit(grown.pk) == [
        "retry done: operation <b>first</b> of character 101, was item_gone; "
        f"reason: {REASON}"
    ]
    save()
    assert state(grown) == (True, "applied")
    assert parked() == {}
    assert pieces(PELT) == 1


def test_a_discarded_one_is_never_applied_and_what_waited_may_be(
    client: Client, grown: ParkedOperation
) -> None:
    add_item(HERO, PELT, 70, quantity=3)

    response = post(client, "discard", grown.pk)

    assert told(response) == ["1 operation was discarded."]
    assert state(grown) == (False, "discarded")
    assert asked_for() == []
    assert audit(grown.pk)[0].startswith("discard done: operation")
    second = ParkedOperation.objects.get(op_id="second")
    post(client, "retry", second.pk)
    save()
    assert state(second) == (True, "applied")
    assert rows()[70] == (PELT, 2, None)
    save()
    assert rows()[70] == (PELT, 2, None)


@EACH
def test_without_its_permission_an_action_is_hidden_refused_and_audited(
    action: Action, grown: ParkedOperation, viewer: User
) -> None:
    other = next(a for a in Action if a is not action)
    viewer.user_permissions.add(permission_of(other))
    client = logged_in(viewer)
    for page_url in (LIST, change_url(grown)):
        page = client.get(page_url).content.decode()
        offers = (f"/{action}/", f"{action}_selected")
        assert not any(offer in page for offer in offers)
        assert f"/{other}/" in page or f"{other}_selected" in page
    assert client.get(url(action), {"id": grown.pk}).status_code == 403
    assert post(client, action, grown.pk).status_code == 403
    run = {"action": f"{action}_selected", "_selected_action": [str(grown.pk)]}
    client.post(LIST, run, follow=True)
    with pytest.raises(PermissionDenied):
        DECISIONS[action]([grown.pk], actor=viewer, reason=REASON)
    assert state(grown) == (False, None)
    denied = f"{action} denied: no permission; reason: {REASON}"
    assert audit(grown.pk) == [denied, denied]
    assert asked_for() == []


@EACH
def test_permission_to_act_is_not_permission_to_see(
    action: Action, grown: ParkedOperation
) -> None:
    user = User.objects.create_user("blind", is_staff=True)
    user.user_permissions.add(permission_of(action))
    client = logged_in(user)
    assert client.get(url(action), {"id": grown.pk}).status_code == 403
    assert post(client, action, grown.pk).status_code == 403
    assert state(grown) == (False, None)


@EACH
@pytest.mark.parametrize("reason", ["", "too short", " " * 20, "x" * 1001])
def test_a_decision_needs_a_reason(
    action: Action,
    reason: str,
    client: Client,
    grown: ParkedOperation,
    operator: User,
) -> None:
    response = post(client, action, grown.pk, reason=reason)
    assert response.status_code == 200
    assert response.context["form"].errors
    with pytest.raises(ValueError, match="10 to 1000"):
        DECISIONS[action]([grown.pk], actor=operator, reason=reason)
    assert state(grown) == (False, None)
    assert audit(grown.pk) == []


@EACH
def test_looking_and_selecting_change_nothing(
    action: Action, client: Client, grown: ParkedOperation
) -> None:
    data = {"id": str(grown.pk), "reason": REASON}
    assert client.get(url(action), data).status_code == 200
    run = {"action": f"{action}_selected", "_selected_action": [str(grown.pk)]}
    page = client.post(LIST, run).content.decode()
    assert f'name="id" value="{grown.pk}"' in page
    assert f'action="{url(action)}"' in page
    assert state(grown) == (False, None)
    assert (audit(grown.pk), asked_for()) == ([], [])


@EACH
def test_what_is_resolved_is_skipped_and_told(
    action: Action, client: Client, grown: ParkedOperation, operator: User
) -> None:
    second = ParkedOperation.objects.get(op_id="second")
    discard([grown.pk], actor=operator, reason=REASON)
    before = state(grown)

    decision = DECISIONS[action](
        [grown.pk, second.pk, 10**9], actor=operator, reason=REASON
    )

    assert decision.done == [second.pk]
    assert decision.skipped == {
        grown.pk: SkipReason.DISCARDED,
        10**9: SkipReason.UNKNOWN,
    }
    assert state(grown) == before
    assert told(post(client, action, grown.pk)) == [
        "1 operation is skipped: already discarded."
    ]
    assert (
        "Nothing here is parked"
        in client.get(url(action), {"id": grown.pk}).content.decode()
    )


@EACH
@pytest.mark.parametrize(
    "ids", [[], ["x"], ["-1"], ["٣"], [str(2**63)], ["1"] * (MAX_OPERATIONS + 1)]
)
def test_unusable_ids_are_a_bad_request(
    action: Action, client: Client, ids: list[str]
) -> None:
    assert post(client, action, *ids).status_code == 400


def test_too_many_at_once_are_refused(operator: User) -> None:
    with pytest.raises(ValueError, match="at most 500"):
        retry(range(MAX_OPERATIONS + 1), actor=operator, reason=REASON)


def test_a_locked_player_is_reported_audited_and_left_alone(
    client: Client, grown: ParkedOperation
) -> None:
    with psycopg.connect(database_url()) as other:
        other.execute("SELECT 1 FROM characters WHERE id = %s FOR UPDATE", [HERO])
        response = post(client, "discard", grown.pk)
    assert "nothing was changed" in told(response)[0]
    assert state(grown) == (False, None)
    (entry,) = audit(grown.pk)
    assert entry.startswith("discard failed: OperationalError")


def test_a_retry_that_was_lost_on_its_way_is_asked_for_again(
    client: Client, grown: ParkedOperation, redis_client: redis.Redis
) -> None:
    post(client, "retry", grown.pk)
    redis_client.flushdb()
    assert ask_unanswered() == 0
    long_ago = timezone.now() - 2 * UNANSWERED_AFTER
    ParkedOperation.objects.update(retry_requested_at=long_ago)
    assert ask_unanswered() == 1
    assert asked_for() == [f"inventory:{HERO}".encode()]


def test_a_save_at_work_cannot_strike_a_retry_out(
    client: Client, grown: ParkedOperation
) -> None:
    noted = intents.note("inventory", HERO)
    post(client, "retry", grown.pk)
    assert not intents.strike_out("inventory", HERO, noted)
    assert asked_for() == [f"inventory:{HERO}".encode()]


def test_the_list_narrows_by_state_reason_and_scope(
    client: Client, grown: ParkedOperation, operator: User
) -> None:
    snapshot = ParkedOperation.objects.create(
        scope="vitals",
        character_id=7,
        op_id="snapshot",
        operation={},
        code="invalid_operation",
        retry_requested_at=timezone.now(),
    )
    second = ParkedOperation.objects.get(op_id="second")
    discard([second.pk], actor=operator, reason=REASON)

    def shown(**query: str) -> set[int]:
        found = client.get(list_url(ParkedOperation), query).context["cl"].result_list
        return {row.pk for row in found}

    assert shown() == {grown.pk, second.pk, snapshot.pk}
    assert shown(state="parked") == {grown.pk, snapshot.pk}
    assert shown(state="requested") == {snapshot.pk}
    assert shown(state="discarded") == {second.pk}
    assert shown(code="item_gone") == {grown.pk}
    assert shown(scope="vitals") == {snapshot.pk}
    assert shown(q="7") == {snapshot.pk}
    assert shown(q="second") == set()


def test_a_page_tells_what_it_is_and_why(
    client: Client, grown: ParkedOperation
) -> None:
    page = client.get(change_url(grown)).content.decode()
    assert "&lt;b&gt;first&lt;/b&gt;" in page
    assert "<b>first</b>" not in page
    for text in (
        "item is gone",
        "there is no inventory row 70",
        "&quot;inventory_id&quot;: 70",
        f"{url('retry')}?id={grown.pk}",
        f"{url('discard')}?id={grown.pk}",
    ):
        assert text in page, text
    waiting = ParkedOperation.objects.get(op_id="second")
    assert "waits for another" in client.get(change_url(waiting)).content.decode()


def test_every_code_is_explained() -> None:
    assert CODES.keys() == set(ParkCode)
    assert all(
        known.label and known.meaning and known.remedy for known in CODES.values()
    )
