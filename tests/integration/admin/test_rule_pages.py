"""Review rules on their pages, and what is beyond one beside what is usual."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from combat_history.models import AuditEntry, CombatHistory, ReviewRule
from tests.conftest import Settle
from tests.support.admin import body, change_url, list_url, logged_in, told
from tests.support.documents import HERO, PELT, hero_fight
from tests.support.pages import text_of

pytestmark = pytest.mark.usefixtures("world")

PELTS: dict[str, Any] = {"items_gained": [{"item_template_id": PELT, "qty": 3}]}


def saved(client: Client, **over: str) -> ReviewRule:
    asked = {"amount": "gold", "span": "fight", "limit": "5", "is_on": "on", **over}
    response = client.post(f"{list_url(ReviewRule)}add/", asked)
    assert response.status_code == 302, response.content
    assert told(response)
    return ReviewRule.objects.latest("pk")


def test_a_rule_is_measured_as_it_is_saved_and_rehearsed_with_what_is_usual(
    client: Client, settle_here: Settle
) -> None:
    settle_here(*(hero_fight(gold_gained=gold) for gold in (3, 4, 8, 20)))

    rule = saved(client, times_usual="2")

    assert (rule.usual_p50, rule.usual_p99, rule.bound) == (4, 20, 40)
    assert AuditEntry.objects.get(verb="add").target_id == str(rule.pk)
    page = text_of(body(client, change_url(rule)))
    assert "4 / 20" in page
    assert "0 / 4" in page
    assert "40 4 / 20" in text_of(body(client, list_url(ReviewRule)))
    ReviewRule.objects.update(times_usual=None)
    assert "2 / 4" in text_of(body(client, change_url(rule)))


@pytest.mark.parametrize(
    "over",
    [
        {"amount": "roster", "span": "day"},
        {"amount": "roster", "times_usual": "2"},
        {"times_usual": "0"},
    ],
)
def test_what_is_no_rule_is_said_on_the_form(
    client: Client, over: dict[str, str]
) -> None:
    asked = {"amount": "gold", "span": "fight", "limit": "5", **over}
    before = ReviewRule.objects.count()
    page = client.post(f"{list_url(ReviewRule)}add/", asked)
    assert "errorlist" in page.content.decode()
    assert ReviewRule.objects.count() == before


def test_what_is_held_is_shown_beside_what_is_usual(
    client: Client, settle_here: Settle
) -> None:
    settle_here(*(hero_fight(xp_gained=xp, **PELTS) for xp in (1, 2)))
    rule = saved(client, amount="items", limit="4", span="day")
    fight = hero_fight(**PELTS)

    settle_here(fight)

    row = CombatHistory.objects.get(pk=fight["session_id"])
    assert row.failure_code == "held_for_review"
    page = text_of(body(client, change_url(row)))
    assert f"#{rule.pk} pieces of an item Wolf pelt ({PELT}), 24 hours" in page
    assert f"({HERO}) Value 9 Limit 4 Usual p50 6, p99 6 in the week before" in page


def test_who_may_not_view_rules_is_told_the_reason_alone(
    client: Client, settle_here: Settle, viewer: User
) -> None:
    saved(client)
    fight = hero_fight(gold_gained=6)
    settle_here(fight)
    row = CombatHistory.objects.get(pk=fight["session_id"])
    viewer.user_permissions.remove(Permission.objects.get(codename="view_reviewrule"))

    page = text_of(body(logged_in(viewer), change_url(row)))

    assert "limit 5" in page
    assert "Review rule #" not in page
