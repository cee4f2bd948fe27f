"""Failed settlements by cause and age, and what the team says of what waits."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from combat_history.actions.triage import Say, Verb, say
from combat_history.admin.review.failures import MAX_MEMBERS
from combat_history.insight import failures
from combat_history.models import AuditEntry, CombatHistory, CombatRevision, Triage
from tests.support.admin import (
    LIST_URL,
    add_combat,
    add_failed,
    audit,
    body,
    count_queries,
    list_url,
    logged_in,
    one_of_each,
    told,
    viewer,
)
from tests.support.batches import add_many_failed
from tests.support.documents import HERO, make_document, make_participant

pytestmark = pytest.mark.django_db(transaction=True)

FAILURES_URL = f"{LIST_URL}failures/"
TRIAGE_URL = f"{LIST_URL}triage/"


@pytest.fixture
def anna() -> User:
    """A game admin."""
    user = viewer("anna")
    user.user_permissions.add(Permission.objects.get(codename="change_triage"))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def client(anna: User) -> Client:
    return logged_in(anna)


def failed(code: str = "unknown_item", *, hours: float = 0.1, **over: object) -> UUID:
    received = timezone.now() - timedelta(hours=hours)
    return add_failed(code, received_at=received, **over).pk


def group_url(page: str) -> str:
    url, *_ = re.findall(r'<a href="([^"]*/failures/group/[^"]*)"', page)
    return str(url).replace("&amp;", "&")


def fields(page: str) -> dict[str, str]:
    names = ("code", "subject", "snoozed")
    found = {n: re.findall(rf'name="{n}" value="([^"]*)"', page) for n in names}
    return {name: values[0] for name, values in found.items() if values}


def said(session_id: UUID) -> Triage:
    return Triage.objects.get(kind="combat", target_id=str(session_id))


def test_groups_tell_what_is_at_stake_by_cause_and_subject() -> None:
    part = make_participant(
        xp_gained=10, gold_gained=5, items_gained=[{"item_template_id": "x", "qty": 3}]
    )
    shown = make_participant(
        xp_gained=1, ui_report={"loot_obtained": [{"name": "a"}, {"name": "b"}]}
    )
    odd = {"changes": {"xp_gained": "many", "gold_gained": 10**30}}
    ai = {"changes": {"xp_gained": 999}}
    both = make_document({"101": part, "102": shown, "goblin_1": ai})
    failed(result_payload=both, participant_ids=[101, 102])
    failed(result_payload=make_document({"101": part}), participant_ids=[101])
    failed(result_payload=make_document({"103": odd}), participant_ids=[103])
    failed(result_payload={"participants": []}, participant_ids=[])
    failed(failure_subject="moon_dust", hours=2)
    failed(failure_subject="moon_dust", hours=30)
    failed("poison", hours=24 * 30)
    add_combat()

    groups = failures.failures().groups

    found = [(*group.cause[:2], group.stakes.combats) for group in groups]
    assert found == [
        ("unknown_item", "", 4),
        ("unknown_item", "moon_dust", 2),
        ("poison", "", 1),
    ]
    stakes = groups[0].stakes
    assert (stakes.players, stakes.xp, stakes.gold) == (3, 21, 10)
    assert stakes.items == 3 + 3 + 2
    assert groups[1].stakes.newest - groups[1].stakes.oldest > timedelta(hours=27)


def test_what_is_corrected_is_at_stake_as_corrected(anna: User) -> None:
    session_id = failed()
    document = make_document({str(HERO): make_participant(xp_gained=77)})
    CombatRevision.objects.create(
        session_id=session_id,
        revision=2,
        document=document,
        payload_sha256="0" * 64,
        diff=[],
        author_name="anna",
        reason="because it was wrong",
    )
    CombatHistory.objects.filter(pk=session_id).update(revision=2)

    (group,) = failures.failures().groups

    assert group.stakes.xp == 77


def test_more_than_are_looked_at_is_told() -> None:
    for _ in range(3):
        failed()

    assert failures.failures(limit=2).is_cut
    assert failures.failures(limit=2).groups[0].stakes.combats == 2
    assert not failures.failures(limit=3).is_cut


def test_the_page_explains_and_leads_to_the_combats(client: Client) -> None:
    session_id = failed(hours=2)
    failed("poison", hours=30)

    listed = body(client, LIST_URL)
    page = body(client, FAILURES_URL)

    assert FAILURES_URL in listed
    assert "Add the item template with that id or name, then replay." in page
    assert "/failures/group/?code=unknown_item&amp;subject=" in page
    group = body(client, f"{FAILURES_URL}group/?code=unknown_item&subject=")
    assert f"{session_id}/change/" in group
    filtered = re.findall(r'href="([^"]*failure=[^"]*)"', group)
    response = client.get(filtered[0])
    assert [row.pk for row in response.context["cl"].result_list] == [session_id]


def test_the_page_costs_the_same_however_many_failed(client: Client) -> None:
    failed()
    before = count_queries(client, FAILURES_URL)
    for n in range(20):
        failed(["poison", "shortage"][n % 2], hours=n * 10)

    assert count_queries(client, FAILURES_URL) == before


def test_chosen_combats_are_acknowledged_and_marked(client: Client) -> None:
    chosen, other = failed(), failed()
    page = body(client, group_url(body(client, FAILURES_URL)))
    data = {**fields(page), "target": [str(chosen)], "verb": "acknowledge"}

    response = client.post(TRIAGE_URL, data)

    assert told(response) == ["Saved for 1 thing."]
    assert said(chosen).acknowledged_by == "anna"
    assert not Triage.objects.filter(target_id=str(other)).exists()
    assert "1 acknowledged" in body(client, FAILURES_URL)
    page = body(client, group_url(body(client, FAILURES_URL)))
    assert page.count("acknowledged by anna") == 1
    assert audit(chosen) == ["acknowledge done: ; reason: "]


def test_a_whole_group_is_snoozed_and_folded_until_its_time(client: Client) -> None:
    group, another = [failed(), failed()], failed("poison", hours=30)
    page = body(client, FAILURES_URL)
    (url,) = (
        u.replace("&amp;", "&")
        for u in re.findall(r'<a href="([^"]*/failures/group/[^"]*)"', page)
        if "unknown_item" in u
    )
    data = {**fields(body(client, url)), "verb": "snooze", "hours": "24"}

    client.post(TRIAGE_URL, {**data, "whole_group": "1"})

    assert {row.target_id for row in Triage.objects.all()} == set(map(str, group))
    shown = client.get(FAILURES_URL).context
    assert [row["code"] for row in shown["groups"]] == ["poison"]
    assert [row["stakes"].combats for row in shown["snoozed"]] == [2]
    Triage.objects.update(snoozed_until=timezone.now() - timedelta(seconds=1))
    assert not client.get(FAILURES_URL).context["snoozed"]
    assert not Triage.objects.filter(target_id=str(another)).exists()


def test_all_of_a_group_are_chosen_across_its_pages_and_audited_once(
    client: Client,
) -> None:
    ids = add_many_failed(MAX_MEMBERS + 1)
    url = f"{FAILURES_URL}group/?code=unknown_item"
    first = body(client, url)
    assert "all 101 of the group, on all pages" in first
    shown = [
        page.count('name="target"') for page in (first, body(client, f"{url}&p=1"))
    ]
    assert shown == [MAX_MEMBERS, 1]

    data = {"code": "unknown_item", "whole_group": "on", "verb": "acknowledge"}
    client.post(TRIAGE_URL, data)

    entry = AuditEntry.objects.get()
    assert entry.members == sorted(map(str, ids))
    of_one = body(client, list_url(AuditEntry), {"q": str(ids[-1])})
    assert "combat × 101" in of_one
    page = body(client, f"{list_url(AuditEntry)}{entry.pk}/change/")
    assert page.count('class="combat-id" href=') == 101


def test_a_note_and_an_assignment_keep_what_was_said_before(client: Client) -> None:
    session_id = failed()
    target = {"target": str(session_id)}

    client.post(TRIAGE_URL, {**target, "verb": "assign", "assigned_to": "anna"})
    client.post(TRIAGE_URL, {**target, "verb": "note", "note": "<b>asked the devs</b>"})

    row = said(session_id)
    assert (row.assigned_to, row.note) == ("anna", "<b>asked the devs</b>")
    page = body(client, group_url(body(client, FAILURES_URL)))
    assert "&lt;b&gt;asked the devs" in page
    assert "assigned to anna" in page
    last = AuditEntry.objects.order_by("-id")[0]
    assert (last.before, last.after) == (
        {"note": ""},
        {"note": "<b>asked the devs</b>"},
    )


@pytest.mark.parametrize(
    "verb", [verb for verb in Verb if verb not in (Verb.NOTE, Verb.ASSIGN)]
)
def test_a_note_and_an_assignee_given_with_any_verb_are_kept_with_it(
    client: Client, verb: Verb
) -> None:
    session_id = failed()
    data = {"target": str(session_id), "verb": str(verb)}
    data |= {"hours": "24"} if verb is Verb.SNOOZE else {}

    given = {"note": "asked the devs", "assigned_to": "anna"}
    client.post(TRIAGE_URL, {**data, **given})

    row = said(session_id)
    assert (row.note, row.assigned_to) == ("asked the devs", "anna")
    assert (row.snoozed_until is not None) == (verb is Verb.SNOOZE)
    assert bool(row.acknowledged_by) == (verb is Verb.ACKNOWLEDGE)
    assert audit(session_id) == [f"{verb} done: ; reason: asked the devs"]
    after = AuditEntry.objects.get().after
    assert after is not None
    assert (after["note"], after["assigned_to"]) == ("asked the devs", "anna")


def test_a_verb_alone_keeps_the_note_and_the_assignee(client: Client) -> None:
    target = {"target": str(failed())}
    given = {"note": "asked the devs", "assigned_to": "anna"}
    client.post(TRIAGE_URL, {**target, "verb": "acknowledge", **given})

    client.post(TRIAGE_URL, {**target, "verb": "wake", "note": "", "assigned_to": ""})

    row = Triage.objects.get()
    assert (row.note, row.assigned_to) == ("asked the devs", "anna")


def test_a_time_chosen_with_another_verb_snoozes_too(client: Client) -> None:
    data = {"target": str(failed()), "verb": "acknowledge", "hours": "24"}

    client.post(TRIAGE_URL, data)

    row = Triage.objects.get()
    assert row.acknowledged_by == "anna"
    assert row.snoozed_until is not None


def test_a_snooze_that_is_ended_and_begun_at_once_is_asked_about(
    client: Client,
) -> None:
    data = {"target": str(failed()), "verb": "wake", "hours": "24"}

    response = client.post(TRIAGE_URL, data)

    assert "either ended or begun" in response.content.decode()
    assert not Triage.objects.exists()


def test_what_cannot_be_said_changes_nothing(anna: User) -> None:
    session_id = failed()
    past = timezone.now() - timedelta(hours=1)
    for what in (
        Say(Verb.ASSIGN, assigned_to="nobody"),
        Say(Verb.SNOOZE, until=past),
        Say(Verb.NOTE, note="x" * 1001),
        Say(Verb.WAKE, note="x" * 1001),
    ):
        with pytest.raises(ValueError, match=r"no active|time to come|at most"):
            say(Triage.Kind.COMBAT, [str(session_id)], what, actor=anna)
    assert not Triage.objects.exists()


def test_what_does_not_wait_is_skipped(anna: User) -> None:
    combat = add_combat()

    what = Say(Verb.ACKNOWLEDGE)
    result = say(Triage.Kind.COMBAT, [str(combat.pk)], what, actor=anna)

    assert (result.done, result.skipped) == ([], [str(combat.pk)])
    assert audit(combat.pk) == ["acknowledge skipped: does not wait; reason: "]


def test_without_the_permission_it_is_refused_and_written_down() -> None:
    session_id = failed()
    sam = logged_in(viewer("sam"))

    data = {"target": str(session_id), "verb": "snooze", "hours": "24"}
    response = sam.post(TRIAGE_URL, data)

    assert response.status_code == 403
    assert not Triage.objects.exists()
    assert audit(session_id) == ["snooze denied: no permission; reason: "]
    page = body(sam, group_url(body(sam, FAILURES_URL)))
    assert "Save" not in page


def test_a_group_that_somebody_may_not_triage_is_denied_in_one_entry() -> None:
    failed(), failed()
    sam = logged_in(viewer("sam"))
    group = {"code": "unknown_item", "whole_group": "1", "verb": "acknowledge"}

    response = sam.post(TRIAGE_URL, group)

    assert response.status_code == 403
    entry = AuditEntry.objects.get()
    assert (entry.outcome, len(entry.members or [])) == ("denied", 2)


@pytest.mark.parametrize("data", [{}, {"verb": "acknowledge"}])
def test_nothing_chosen_is_told(client: Client, data: dict[str, str]) -> None:
    failed()

    response = client.post(TRIAGE_URL, data)

    assert told(response) == ["Nothing was chosen, and nothing was changed."]


@pytest.mark.parametrize("target", ["nonsense", "1 OR 1"])
def test_an_unusable_target_is_a_bad_request(client: Client, target: str) -> None:
    data = {"target": target, "verb": "acknowledge"}
    assert client.post(TRIAGE_URL, data).status_code == 400


@pytest.mark.parametrize("query", ["", "?code=", "?code=%00", "?code=x&subject=%00"])
def test_an_unusable_group_is_a_bad_request(client: Client, query: str) -> None:
    assert client.get(f"{FAILURES_URL}group/{query}").status_code == 400


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SettlementDiscrepancy", "discrepancy"),
        ("RejectedPayload", "rejected"),
        ("ParkedOperation", "parked"),
    ],
)
def test_other_lists_have_the_same_triage(client: Client, name: str, kind: str) -> None:
    (row,) = (r for r in one_of_each() if type(r).__name__ == name)
    url = list_url(type(row))
    action = {"action": "triage_selected", "_selected_action": [str(row.pk)]}
    chosen = client.post(url, action).content.decode()
    assert f'name="target" value="{row.pk}"' in chosen
    assert not Triage.objects.exists()

    data = {"target": str(row.pk), "verb": "acknowledge"}
    client.post(f"{url}triage/", data)

    assert Triage.objects.get().kind == kind
    assert "acknowledged by anna" in body(client, url)
    sam = logged_in(viewer("sam"))
    assert sam.post(f"{url}triage/", data).status_code == 403
    assert sam.get(f"{url}triage/").status_code == 403
    denied = AuditEntry.objects.filter(target_type=kind, outcome="denied")
    assert denied.get().target_id == str(row.pk)
