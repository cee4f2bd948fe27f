"""The inventory pages tell which fight an item is reserved for, and find it by that."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from django.test import Client

from combat_history.models import InventoryItem
from persistence.contract.ids import short_id
from tests.support.admin import body, change_url, list_url, one_of_each
from tests.support.factories import add_item
from tests.support.ids import new_session_id


def an_item() -> InventoryItem:
    (item,) = [row for row in one_of_each() if isinstance(row, InventoryItem)]
    return item


def test_item_shows_the_fight_it_is_reserved_for(client: Client) -> None:
    free, fight = an_item(), new_session_id()
    owner_id, template_id = free.character_id, free.item_template_id
    item = add_item(owner_id, template_id, reserved_session_id=fight)

    assert str(fight) in body(client, change_url(item))
    assert str(fight) in body(client, list_url(InventoryItem))
    assert str(fight) not in body(client, change_url(free))


@pytest.mark.parametrize("form", [str, short_id])
def test_items_are_found_by_the_fight_that_reserved_them(
    client: Client, form: Callable[[UUID], str]
) -> None:
    free, fight = an_item(), new_session_id()
    owner_id, template_id = free.character_id, free.item_template_id
    item = add_item(owner_id, template_id, reserved_session_id=fight)
    add_item(owner_id, template_id, reserved_session_id=new_session_id())

    page = client.get(list_url(InventoryItem), {"q": form(fight)})

    assert list(page.context["cl"].result_list) == [item]
