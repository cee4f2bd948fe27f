"""Undoing a settled combat in the admin: shown first, then done, by whoever may."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from combat_history.models import (
    AuditEntry,
    Character,
    CombatHistory,
    InventoryItem,
    ItemTemplate,
    LedgerLine,
    SettlementDiscrepancy,
)
from tests.conftest import Settle
from tests.support.admin import (
    LIST_URL,
    add_failed,
    body,
    count_queries,
    logged_in,
    told,
)
from tests.support.documents import (
    HERO,
    PELT,
    POTION,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.reconciling import found
from tests.support.undoing import lose_character
from tests.support.worker import database_url

pytestmark = pytest.mark.django_db(transaction=True)

REASON = "The boss was bugged that evening"


@pytest.fixture
def settled(settle_here: Settle) -> UUID:
    """The sample."""
    document = sample_document()
    settle_here(document)
    return UUID(document["session_id"])


@pytest.fixture
def spent(settled: UUID) -> UUID:
    """The sample, whose pelt is gone since."""
    InventoryItem.objects.filter(item_template_id=PELT).update(
        reserved_session_id=new_session_id()
    )
    return settled


def page_of(session_id: UUID) -> str:
    return f"{LIST_URL}{session_id}/change/"


def url_of(session_id: UUID) -> str:
    return f"{LIST_URL}{session_id}/undo/"


def post(client: Client, session_id: UUID, **over: str) -> Any:
    data = {"reason": REASON, "on_shortage": "refuse", **over}
    return client.post(url_of(session_id), data)


def outcomes(session_id: UUID) -> list[str]:
    rows = AuditEntry.objects.filter(target_id=str(session_id)).order_by("pk")
    return list(rows.values_list("outcome", flat=True))


def is_undone(session_id: UUID) -> bool:
    return CombatHistory.objects.get(pk=session_id).compensated_at is not None


def text(page: str) -> str:
    """What is read of a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_an_admin_reads_what_it_would_do_and_does_it(
    settled: UUID, client: Client
) -> None:
    button = re.search(r'href="([^"]*/undo/)"', body(client, page_of(settled)))
    assert button is not None

    page = text(body(client, button[1]))

    assert "1250 → 0" in page
    assert "100 → 0" in page
    assert f"#{POTION}: 3 → 5" in page
    assert "#56 · durability 95 → 100" in page
    assert "1 → 0 · removed" in page
    assert "What falls short" not in page

    response = post(client, settled)

    assert response["Location"] == page_of(settled)
    assert told(response) == ["The combat is undone by counter-lines."]
    assert is_undone(settled)
    hero = Character.objects.get()
    assert (hero.xp, hero.gold) == (0, 0)
    assert outcomes(settled) == ["done"]
    assert "/undo/" not in body(client, page_of(settled))
    assert found() == {}


def test_a_second_click_changes_nothing(settled: UUID, client: Client) -> None:
    post(client, settled)

    response = post(client, settled)

    assert told(response)[-1] == "This cannot be undone: it is undone already."
    assert LedgerLine.objects.filter(kind="compensation").count() == 1
    assert outcomes(settled) == ["done", "skipped"]
    page = body(client, url_of(settled))
    assert "it is undone already" in page
    assert 'type="submit" class="default"' not in page


def test_looking_changes_nothing(spent: UUID, client: Client) -> None:
    before = [list(t.objects.values()) for t in (CombatHistory, Character, LedgerLine)]
    data = {"reason": REASON, "on_shortage": "record"}

    assert client.get(url_of(spent), data).status_code == 200

    after = [list(t.objects.values()) for t in (CombatHistory, Character, LedgerLine)]
    assert after == before
    assert not AuditEntry.objects.exists()


def test_without_the_permission_it_is_hidden_refused_and_audited(
    settled: UUID, viewer: User
) -> None:
    client = logged_in(viewer)
    assert "/undo/" not in body(client, page_of(settled))
    assert client.get(url_of(settled)).status_code == 403
    assert outcomes(settled) == []

    assert post(client, settled).status_code == 403
    assert post(client, settled, reason="", on_shortage="").status_code == 403

    assert not is_undone(settled)
    assert outcomes(settled) == ["denied", "denied"]


def test_the_permission_alone_is_enough_for_a_viewer(
    settled: UUID, viewer: User
) -> None:
    viewer.user_permissions.add(Permission.objects.get(codename="compensate_combat"))
    client = logged_in(viewer)
    assert "/undo/" in body(client, page_of(settled))

    assert post(client, settled).status_code == 302

    assert is_undone(settled)


def test_without_view_permission_it_is_refused(settled: UUID, db: None) -> None:
    user = User.objects.create_user("blind", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="compensate_combat"))
    client = logged_in(user)

    assert client.get(url_of(settled)).status_code == 403
    assert post(client, settled).status_code == 403
    assert not is_undone(settled)


def test_a_form_from_elsewhere_is_refused(settled: UUID, operator: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator)

    assert post(client, settled).status_code == 403
    assert not is_undone(settled)


@pytest.mark.parametrize(
    "over",
    [
        {"reason": ""},
        {"reason": "too short"},
        {"on_shortage": ""},
        {"on_shortage": "x"},
    ],
)
def test_reason_and_policy_are_asked_for(
    settled: UUID, client: Client, over: dict[str, str]
) -> None:
    response = post(client, settled, **over)

    assert response.status_code == 200
    assert set(response.context["form"].errors) == set(over)
    assert not is_undone(settled)


def test_what_falls_short_is_listed_and_refused(spent: UUID, client: Client) -> None:
    page = text(body(client, url_of(spent)))
    assert "What falls short" in page
    assert "undo: pieces are missing" in page

    response = post(client, spent)

    assert response.status_code == 200
    assert "some of it can no longer be undone" in response.content.decode()
    assert not is_undone(spent)
    assert outcomes(spent) == ["failed"]


def test_what_falls_short_is_recorded_where_that_is_chosen(
    spent: UUID, client: Client
) -> None:
    assert post(client, spent, on_shortage="record").status_code == 302

    assert is_undone(spent)
    (short,) = SettlementDiscrepancy.objects.all()
    assert (short.code, short.wanted, short.applied) == ("undo_item_short", 1, 0)


def test_a_combat_that_is_not_settled_says_why(client: Client) -> None:
    failed = add_failed()
    assert "/undo/" not in body(client, page_of(failed.pk))
    assert "it failed, nothing of it was settled" in body(client, url_of(failed.pk))

    response = post(client, failed.pk)

    assert told(response) == [
        "This cannot be undone: it failed, nothing of it was settled."
    ]


def test_an_unknown_combat_is_not_found(client: Client) -> None:
    assert client.get(url_of(new_session_id())).status_code == 404


def test_a_player_who_is_no_more_is_named(settle_here: Settle, client: Client) -> None:
    add_character(102)
    document = make_document({"102": make_participant(gold_gained=5)})
    settle_here(document)
    session_id = UUID(document["session_id"])
    lose_character(102)

    page = body(client, url_of(session_id))
    assert "no such character: 102" in page
    assert 'type="submit" class="default"' not in page
    response = post(client, session_id)

    assert "no such character: 102" in told(response)[0]
    assert not is_undone(session_id)
    assert outcomes(session_id) == ["failed"]


def test_a_locked_player_is_reported_audited_and_left_alone(
    settled: UUID, client: Client
) -> None:
    with psycopg.connect(database_url()) as other:
        other.execute("SELECT 1 FROM characters WHERE id = %s FOR UPDATE", [HERO])
        response = post(client, settled)

    assert told(response)[0].startswith("Nothing was changed: ")
    assert not is_undone(settled)
    (entry,) = AuditEntry.objects.all()
    assert entry.outcome == "failed"
    assert entry.detail.startswith("LockNotAvailable")


def test_a_script_in_a_name_stays_text(settled: UUID, client: Client) -> None:
    Character.objects.update(name="<script>alert(1)</script>")
    ItemTemplate.objects.filter(pk=PELT).update(name_en="<script>alert(2)</script>")

    page = body(client, url_of(settled))

    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") == 2


def test_the_page_costs_the_same_for_one_player_and_for_many(
    settle_here: Settle, client: Client
) -> None:
    for char_id in range(200, 230):
        add_character(char_id)
    part = make_participant(
        gold_gained=5, items_gained=[{"item_template_id": PELT, "qty": 1}]
    )
    few = make_document({"200": part})
    many = make_document({str(char_id): part for char_id in range(200, 230)})
    settle_here(few, many)
    body(client, url_of(UUID(few["session_id"])))

    costs = {
        count_queries(client, url_of(UUID(document["session_id"])))
        for document in (few, many)
    }

    assert len(costs) == 1
