"""Who may see what, what may be changed, and what opening a page costs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from combat_history.models import (
    BalanceTemplate,
    ItemTemplate,
    ReviewRule,
    SettlementControl,
)
from tests.support.admin import (
    LIST_URL,
    RECORDS,
    add_failed,
    body,
    change_url,
    count_queries,
    list_url,
    logged_in,
    one_of_each,
)


def test_everything_registered_has_a_row_here(db: None) -> None:
    # The pages of the admin are loaded with the addresses.
    reverse("admin:index")
    registered = {
        model
        for model in admin.site._registry
        if model._meta.app_label == "combat_history"
    }
    registered.remove(SettlementControl)  # one page, no list of rows
    assert {type(row) for row in one_of_each()} == registered
    assert registered == {*RECORDS, BalanceTemplate, ItemTemplate, ReviewRule}


def test_lists_and_pages_cost_the_same_for_one_row_and_for_forty(
    client: Client,
) -> None:
    rows = one_of_each()
    for row in rows:
        body(client, list_url(type(row)))  # content types are cached
    few = {type(row): count_queries(client, list_url(type(row))) for row in rows}
    for _ in range(39):
        one_of_each()
    for row in rows:
        assert count_queries(client, list_url(type(row))) == few[type(row)] <= 6
        assert count_queries(client, change_url(row)) <= 21, type(row)


@pytest.mark.parametrize("model", RECORDS)
def test_records_are_read_only_for_superusers(client: Client, model: Any) -> None:
    (row,) = [row for row in one_of_each() if type(row) is model]
    before = list(model.objects.filter(pk=row.pk).values())
    assert client.get(f"{list_url(model)}add/").status_code == 403
    assert client.post(f"{list_url(model)}add/", {}).status_code == 403
    assert client.post(change_url(row), {"gold": 1_000_000}).status_code == 403
    delete = change_url(row).replace("/change/", "/delete/")
    assert client.post(delete, {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": [str(row.pk)]}
    client.post(list_url(model), {**action, "post": "yes"})
    assert list(model.objects.filter(pk=row.pk).values()) == before
    assert 'name="_save"' not in body(client, change_url(row))


def test_without_view_permission_nothing_is_shown(db: None) -> None:
    client = logged_in(User.objects.create_user("guest", is_staff=True))
    for row in one_of_each():
        assert client.get(list_url(type(row))).status_code == 403
        assert client.get(change_url(row)).status_code == 403


def test_a_viewer_sees_everything(viewer: User) -> None:
    client = logged_in(viewer)
    for row in one_of_each():
        body(client, list_url(type(row)))
        body(client, change_url(row))


def test_catalogue_is_completed_and_corrected_in_the_admin(client: Client) -> None:
    url = list_url(ItemTemplate)
    form = body(client, f"{url}add/")
    assert re.search(r'<input type="checkbox" name="stackable"[^>]* checked', form)
    data = {"id": "scale_1", "name": "Чешуя", "name_en": "", "stackable": "on"}
    client.post(f"{url}add/", data)
    row = ItemTemplate.objects.get(pk="scale_1")
    assert row.stackable
    client.post(
        change_url(row), {"id": "other", "name": "Чешуя дракона", "max_durability": "9"}
    )
    row.refresh_from_db()
    assert (row.name, row.stackable, row.max_durability) == ("Чешуя дракона", False, 9)
    assert not ItemTemplate.objects.filter(pk="other").exists()
    found = client.get(url, {"q": "драк"}).context["cl"].result_list
    assert list(found) == [row]
    delete = change_url(row).replace("/change/", "/delete/")
    assert client.post(delete, {"post": "yes"}).status_code == 403


def test_russian_is_spoken_to_whoever_asks_for_it(client: Client) -> None:
    combat = add_failed()
    client.cookies["django_language"] = "ru"
    for url in (
        LIST_URL,
        change_url(combat),
        f"{LIST_URL}replay/?session_id={combat.pk}",
    ):
        page = body(client, url)
        assert "неизвестный предмет" in page
        assert "unknown item" not in page
