"""Replay batches, from the group of failures to the list of what came of them."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from combat_history.actions import batches
from combat_history.actions.batches import Caution
from combat_history.actions.replay import MAX_COMBATS
from combat_history.admin.batches.batches import PAGE_ROWS
from combat_history.models import (
    CombatHistory,
    LedgerLine,
    ReplayBatch,
    ReplayBatchItem,
    ReplayRequest,
    Status,
)
from persistence.contract.ids import short_id
from tests.support.admin import (
    LIST_URL,
    add_failed,
    audit,
    body,
    count_queries,
    logged_in,
    told,
)
from tests.support.batches import REASON, add_many_failed, make_batch, run
from tests.support.factories import add_template
from tests.support.pages import text_of

pytestmark = pytest.mark.usefixtures("world")

AUDIT_URL = "/admin/combat_history/auditentry/"
NEW_URL = f"{LIST_URL}replay/batch/"
GROUP = {"code": "unknown_item"}
SCRIPT = "<script>alert(1)</script>"


def url_of(batch: ReplayBatch, page: str = "change") -> str:
    return reverse(f"admin:combat_history_replaybatch_{page}", args=[batch.pk])


def hidden(page: str) -> dict[str, str]:
    """The fields that the page's form repeats, but for the token."""
    found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: value for name, value in found if name != "csrfmiddlewaretoken"}


def decide(client: Client, batch: ReplayBatch, verb: str, reason: str = REASON) -> Any:
    return client.post(url_of(batch, "decide"), {"verb": verb, "reason": reason})


def may_replay(user: User) -> User:
    user.user_permissions.add(Permission.objects.get(codename="replay_combat"))
    return User.objects.get(pk=user.pk)


def test_a_group_is_replayed_from_the_page_of_failures(client: Client) -> None:
    add_many_failed(3)
    add_failed("unknown_character")
    add_template("dragon_scale")
    failures = body(client, f"{LIST_URL}failures/")
    links = re.findall(r'href="([^"]*/replay/batch/[^"]*)"', failures)
    link = next(link for link in links if "unknown_item" in link)
    confirmation = body(client, link.replace("&amp;", "&"))
    assert "3 combats have failed" in confirmation
    assert "unknown item: 3." in confirmation
    assert not ReplayBatch.objects.exists()

    data = {**hidden(confirmation), "reason": REASON, "shortages": "record"}
    response = client.post(NEW_URL, data)
    again = client.post(NEW_URL, data)

    batch = ReplayBatch.objects.get()
    assert response["Location"] == again["Location"] == url_of(batch)
    assert told(response) == ["3 combats are replayed in the background."]
    assert (batch.total, batch.shortages) == (3, "record")
    assert batch.selection["code"] == "unknown_item"
    run(batch)
    page = body(client, url_of(batch))
    assert '<progress max="3" value="3"' in page
    assert "replayed: 3" in text_of(page)
    back = re.search(r'href="([^"]*)">Where they were chosen', page)
    assert back is not None
    assert "Nothing of this group has failed any more" in body(
        client, back[1].replace("&amp;", "&")
    )


def test_a_group_is_rehearsed_before_it_is_replayed(client: Client) -> None:
    add_many_failed(3)
    add_many_failed(2, "of nowhere")
    add_template("dragon_scale")

    page = text_of(body(client, NEW_URL, GROUP))

    assert "would settle 3 of them with a shortage 0 would fail 2" in page
    assert "Unknown item: of nowhere: 2" in page
    assert not LedgerLine.objects.filter(kind="settlement").exists()
    data = {**GROUP, "reason": REASON, "canary": "2", "stop_after": "3"}
    refused = client.post(NEW_URL, data).content.decode()
    assert "or the trial stops nothing" in refused
    assert not ReplayBatch.objects.exists()
    client.post(NEW_URL, {**data, "stop_after": "2"})
    batch = ReplayBatch.objects.get()
    assert (batch.canary, batch.stop_after) == (2, 2)


def test_what_stopped_a_batch_leads_to_its_group(
    client: Client, operator: User
) -> None:
    ids = add_many_failed(3, "of nowhere")
    batch = run(make_batch(operator, caution=Caution(2, 2)))

    page = body(client, url_of(batch))

    assert "2 failures in a row for the same cause: Unknown item: of nowhere" in (
        text_of(page)
    )
    assert "failures/group/?code=unknown_item&amp;subject=of+nowhere" in page
    found = body(client, AUDIT_URL, {"q": str(ids[0])})
    assert short_id(batch.pk) in found


def test_all_that_match_the_list_are_a_batch(client: Client) -> None:
    add_many_failed(MAX_COMBATS + 1)
    other = add_failed("unknown_character")
    first = CombatHistory.objects.order_by("finished_at")[0]
    action = {"action": "replay_selected", "select_across": "1"}
    data = {**action, "_selected_action": [str(first.pk)]}
    page = client.post(f"{LIST_URL}?failure=unknown_item&p=2", data).content.decode()
    assert f"{MAX_COMBATS + 1} combats have failed" in page
    assert "failure=unknown_item" in text_of(page)
    assert hidden(page)["list"] == "failure=unknown_item"

    client.post(NEW_URL, {**hidden(page), "reason": REASON})

    batch = ReplayBatch.objects.get()
    assert batch.total == MAX_COMBATS + 1
    assert not ReplayBatchItem.objects.filter(session_id=other.pk).exists()


def test_selected_combats_may_go_to_the_background(client: Client) -> None:
    ids = add_many_failed(3)
    action = {"action": "replay_selected", "_selected_action": ids[:2]}
    page = client.post(LIST_URL, action).content.decode()
    assert f'formaction="{NEW_URL}"' in page

    client.post(NEW_URL, {"session_id": ids[:2], "reason": REASON})

    chosen = ReplayBatchItem.objects.order_by("position")
    assert list(chosen.values_list("session_id", flat=True)) == ids[:2]


def test_nothing_to_replay_makes_no_batch(client: Client) -> None:
    response = client.post(NEW_URL, {**GROUP, "reason": REASON})
    assert told(response)[0].startswith("Nothing is replayed")
    assert not ReplayBatch.objects.exists()
    assert "Nothing here can be replayed" in body(client, NEW_URL, GROUP)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"session_id": "nonsense"},
        {"session_id": [str(UUID(int=n)) for n in range(MAX_COMBATS + 1)]},
        {**GROUP, "batch_id": "nonsense"},
        {**GROUP, "subject": "\0"},
        {"list": "older=nonsense"},
        {"list": "participant_ids__secret=1"},
    ],
    ids=str,
)
def test_what_names_no_combats_is_a_bad_request(
    client: Client, data: dict[str, Any]
) -> None:
    assert client.post(NEW_URL, {**data, "reason": REASON}).status_code == 400


@pytest.mark.parametrize("reason", ["", "too short", "x" * 1001])
def test_without_a_reason_nothing_happens(client: Client, reason: str) -> None:
    add_many_failed(1)
    response = client.post(NEW_URL, {**GROUP, "reason": reason})
    assert response.context["form"].errors
    batch = make_batch(User.objects.get(username="operator"))
    decide(client, batch, "pause", reason)
    assert ReplayBatch.objects.get().state == "running"


def test_without_the_permission_batches_are_hidden_refused_and_audited(
    viewer: User, operator: User
) -> None:
    ids = add_many_failed(2)
    client = logged_in(viewer)
    failures, group = f"{LIST_URL}failures/", f"{LIST_URL}failures/group/"
    assert "replay/batch" not in body(client, failures)
    assert "replay/batch" not in body(client, group, GROUP)
    assert client.get(NEW_URL, GROUP).status_code == 403
    batch_id = uuid4()
    data = {**GROUP, "reason": REASON, "batch_id": str(batch_id)}
    assert client.post(NEW_URL, data).status_code == 403
    assert audit(batch_id) == [f"replay denied: no permission; reason: {REASON}"]
    assert not ReplayBatch.objects.exists()

    batch = make_batch(operator)
    assert 'name="verb"' not in body(client, url_of(batch))
    for verb in ("pause", "cancel"):
        assert decide(client, batch, verb).status_code == 403
    assert [line.split(":")[0] for line in audit(batch.pk)] == [
        "replay done",
        "pause denied",
        "cancel denied",
    ]
    batch.refresh_from_db()
    assert batch.state == "running"
    failed = CombatHistory.objects.filter(settlement_status=Status.FAILED)
    assert failed.count() == len(ids)


def test_permission_alone_is_enough_for_a_viewer(viewer: User) -> None:
    add_many_failed(2)
    client = logged_in(may_replay(viewer))
    assert "replay/batch" in body(client, f"{LIST_URL}failures/")
    assert "replay/batch" in body(client, f"{LIST_URL}failures/group/", GROUP)
    client.post(NEW_URL, {**GROUP, "reason": REASON})
    batch = ReplayBatch.objects.get()
    assert told(decide(client, batch, "pause"))[-1].startswith("The batch is paused")


def test_who_may_not_look_at_batches_sees_none(operator: User) -> None:
    user = may_replay(User.objects.create_user("blind", is_staff=True))
    user.user_permissions.add(Permission.objects.get(codename="view_combathistory"))
    client = logged_in(user)
    add_many_failed(2)
    response = client.post(NEW_URL, {**GROUP, "reason": REASON})
    assert "/replaybatch/" not in response["Location"]
    batch = ReplayBatch.objects.get()
    for page in ("change", "progress"):
        assert client.get(url_of(batch, page)).status_code == 403
    assert decide(client, batch, "cancel").status_code == 403


def test_a_batch_is_paused_resumed_and_cancelled_on_its_page(client: Client) -> None:
    add_many_failed(2)
    batch = make_batch(User.objects.get(username="operator"))

    def offered() -> list[str]:
        return re.findall(r'name="verb" value="(\w+)"', body(client, url_of(batch)))

    assert offered() == ["pause", "cancel"]
    decide(client, batch, "pause")
    assert offered() == ["resume", "cancel"]
    decide(client, batch, "resume")
    assert client.get(url_of(batch, "decide")).status_code == 405
    assert decide(client, batch, "explode").status_code == 400
    response = decide(client, batch, "cancel")
    assert response["Location"] == url_of(batch)
    assert offered() == []
    assert told(decide(client, batch, "resume"))[-1] == (
        "Nothing was changed: the batch is in another state."
    )
    page = text_of(body(client, url_of(batch)))
    assert "cancelled" in page
    assert "the batch was cancelled" in page
    missing = reverse("admin:combat_history_replaybatch_decide", args=[uuid4()])
    data = {"verb": "pause", "reason": REASON}
    assert client.post(missing, data).status_code == 404


def test_results_are_filtered_and_paged(client: Client, operator: User) -> None:
    add_many_failed(PAGE_ROWS + 2)
    batch = make_batch(operator, reason=f"{SCRIPT} was fixed")
    batches.advance(batch.pk)
    requests = ReplayRequest.objects.order_by("id")
    failed = requests[PAGE_ROWS:]
    ReplayRequest.objects.filter(pk__in=[row.pk for row in failed]).update(
        state="failed", detail=f"unknown_item: {SCRIPT}"
    )

    page = body(client, url_of(batch))
    assert page.count('class="combat-id" href=') == PAGE_ROWS
    assert SCRIPT not in page
    following = re.search(r'href="(\?after=\d+)">Next', page)
    assert following is not None
    rest = body(client, url_of(batch) + following[1])
    assert rest.count('class="combat-id" href=') == 2
    # What renews itself is the same page of the same results.
    part = body(client, url_of(batch, "progress"), {"result": "failed"})
    assert part.count('class="combat-id" href=') == 2
    assert "&lt;script&gt;" in part
    assert "unknown item" in part
    assert "failed: 2" in text_of(part)
    assert f"under way: {PAGE_ROWS}" in text_of(part)
    renewed = re.search(
        r'data-url="([^"]*)"', body(client, f"{url_of(batch)}?result=failed")
    )
    assert renewed is not None
    assert renewed[1] == f"{url_of(batch, 'progress')}?result=failed"
    for key in ("x", "-1", "9" * 19, "9" * 30):
        body(client, url_of(batch), {"after": key})


def test_pages_cost_the_same_for_two_combats_and_for_hundreds(
    client: Client, operator: User
) -> None:
    def costs() -> dict[str, int]:
        confirmation = count_queries(client, f"{NEW_URL}?code=unknown_item")
        of_list = count_queries(client, f"{NEW_URL}?list=failure%3Dunknown_item")
        batch = make_batch(operator)
        batches.advance(batch.pk)
        return {
            "confirmation": confirmation,
            "of the list": of_list,
            "page": count_queries(client, url_of(batch)),
            "progress": count_queries(client, url_of(batch, "progress")),
        }

    add_many_failed(2)
    costs()  # what is cached by the first time
    add_many_failed(2)
    few = costs()
    add_many_failed(300)
    assert costs() == few == FEW


FEW = {"confirmation": 9, "of the list": 10, "page": 11, "progress": 7}
"""Of these, two are the session and its user, one is the banner's, and three of the
page are its snapshot's; two of the confirmation are the transaction of its dry run."""
