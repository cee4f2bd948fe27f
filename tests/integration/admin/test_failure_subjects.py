"""What exactly combats failed for: told in groups, mended there, and replayed."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from combat_history.insight.failures import Cause, failures, members
from combat_history.models import CombatHistory, ItemTemplate, Triage
from tests.conftest import Settle
from tests.support.admin import LIST_URL, add_failed, body, logged_in, viewer
from tests.support.documents import HERO, make_document, make_participant

pytestmark = pytest.mark.django_db(transaction=True)

FAILURES_URL = f"{LIST_URL}failures/"


def fight(**changes: Any) -> dict[str, Any]:
    return make_document({str(HERO): make_participant(**changes)})


def of_item(item: str) -> dict[str, Any]:
    return fight(items_gained=[{"item_template_id": item, "qty": 1}])


def subject(document: dict[str, Any]) -> tuple[str | None, str]:
    row = CombatHistory.objects.get(pk=document["session_id"])
    return row.failure_code, row.failure_subject


def test_a_failure_names_what_it_failed_for(world: None, settle_here: Settle) -> None:
    loot = {"loot_obtained": [{"name": "Клык лунного волка", "qty": 1}]}
    told = {
        "moon_dust": of_item("moon_dust"),
        "Клык лунного волка": make_document(
            {str(HERO): make_participant(ui_report=loot)}
        ),
        "mana": fight(balances={"mana": 5}),
        "777000": make_document({"777000": make_participant()}),
        "participants.*.changes.gold_gained": fight(gold_gained="many"),
        "participants.*.changes.items_gained.*.qty": fight(
            items_gained=[{"item_template_id": "sword_epic", "qty": "x"}]
        ),
    }
    settle_here(*told.values(), fight())

    assert {name: subject(document)[1] for name, document in told.items()} == {
        name: name for name in told
    }


def test_a_replay_that_fails_anew_names_what_is_wrong_now(
    world: None, settle_here: Settle
) -> None:
    document = fight(
        items_gained=[{"item_template_id": id_, "qty": 1} for id_ in ("dust", "ash")]
    )
    settle_here(document)
    assert subject(document) == ("unknown_item", "dust")
    ItemTemplate.objects.create(id="dust", name="dust")
    CombatHistory.objects.update(settlement_status="pending")

    settle_here(document)

    assert subject(document) == ("unknown_item", "ash")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "х" * 500])
def test_whatever_a_subject_holds_it_can_be_stored(
    world: None, settle_here: Settle, name: str
) -> None:
    loot = {"loot_obtained": [{"name": name[:200], "qty": 1}]}
    document = make_document({str(HERO): make_participant(ui_report=loot)})

    settle_here(document)

    assert subject(document)[0] is not None


def test_snoozed_combats_are_no_members_of_the_group_that_is_awake() -> None:
    awake, asleep = (add_failed(failure_subject="dust").pk for _ in range(2))
    until = timezone.now() + timedelta(hours=1)
    Triage.objects.create(kind="combat", target_id=str(asleep), snoozed_until=until)

    def of(cause: Cause) -> list[UUID]:
        return [row.pk for row in members(cause)]

    assert of(Cause("unknown_item", "dust")) == [awake]
    assert of(Cause("unknown_item", "dust", is_snoozed=True)) == [asleep]
    assert [group.cause.is_snoozed for group in failures().groups] == [False, True]
    until = timezone.now() - timedelta(seconds=1)
    Triage.objects.update(snoozed_until=until)
    assert set(of(Cause("unknown_item"))) == {awake, asleep}


@pytest.fixture
def client(db: None) -> Client:
    user = viewer("anna")
    for code in ("add_itemtemplate", "replay_combat"):
        user.user_permissions.add(Permission.objects.get(codename=code))
    return logged_in(User.objects.get(pk=user.pk))


def test_the_item_is_added_where_its_failures_are_told(client: Client) -> None:
    add_failed(failure_subject="Клык волка & Ко")
    page = body(client, FAILURES_URL)
    assert "Unknown item: Клык волка &amp; Ко" in page

    url = re.findall(r'href="([^"]*itemtemplate/add[^"]*)"', page)[0]
    url = url.replace("&amp;", "&")
    form = body(client, url)
    assert 'value="Клык волка &amp; Ко"' in form
    data = {"id": "fang", "name": "Клык волка & Ко", "name_en": "", "stackable": "on"}
    response = client.post(url, data)

    assert ItemTemplate.objects.filter(pk="fang").exists()
    back = response["Location"]
    assert back.startswith(f"{FAILURES_URL}group/")
    assert "Replay this group" in body(client, back)


@pytest.mark.parametrize("back", ["https://example.org/", "//example.org", ""])
def test_an_address_elsewhere_is_not_gone_back_to(client: Client, back: str) -> None:
    add = "/admin/combat_history/itemtemplate/add/"
    data = {"id": "dust", "name": "dust", "name_en": "", "stackable": "on"}

    response = client.post(f"{add}?back={back}", data)

    assert response["Location"] == "/admin/combat_history/itemtemplate/"


def test_who_may_not_add_is_offered_no_form() -> None:
    add_failed(failure_subject="dust")
    assert "itemtemplate/add" not in body(logged_in(viewer("sam")), FAILURES_URL)


def test_a_group_of_one_subject_is_replayed_alone(client: Client) -> None:
    dust = add_failed(failure_subject="dust")
    other = add_failed(failure_subject="ash")
    group = {"code": "unknown_item", "subject": "dust"}

    page = body(client, f"{LIST_URL}replay/batch/", group)

    assert f"{dust.pk}/change/" in page
    assert f"{other.pk}/change/" not in page
    assert "Unknown item: dust" in page
