"""Operations of the game in the admin: found, shown, undone."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client

from combat_history.actions.operate import operate
from combat_history.models import LedgerLine, Operation
from persistence.contract.operate import Operation as Asked
from tests.support.admin import LIST_URL, body, list_url, logged_in, told
from tests.support.documents import HERO
from tests.support.factories import add_character
from tests.support.operating import operation

pytestmark = pytest.mark.usefixtures("world")

OP_ID = "quest:77/<b>"
FRIEND = 102
URL = "/admin/combat_history/operation/"


@pytest.fixture(autouse=True)
def applied(world: None) -> None:
    add_character(FRIEND, name="Яромир", gold=5)
    for asked in (
        operation(OP_ID, "The lost sheep", c101={"gold_gained": 7}),
        operation("shop-1", "Shop", c102={"gold_gained": -5}),
    ):
        operate(Asked.read(asked), "engine")


@pytest.mark.parametrize(
    ("term", "op_ids"),
    [
        (OP_ID, [OP_ID]),
        ("quest:", [OP_ID]),
        ("ques_", []),
        (str(FRIEND), ["shop-1"]),
        ("яром", ["shop-1"]),
        ("nothing", []),
    ],
)
def test_it_is_found(client: Client, term: str, op_ids: list[str]) -> None:
    found = client.get(list_url(Operation), {"q": term}).context["cl"].result_list

    assert [row.pk for row in found] == op_ids


def test_its_page_tells_what_was_asked_and_leads_to_the_ledger(client: Client) -> None:
    page = body(client, f"{URL}{quote(OP_ID)}/change/")

    assert "quest:77/&lt;b&gt;" in page
    assert "The lost sheep" in page
    assert "engine" in page
    assert "gold_gained" in page
    row = Operation.objects.get(pk=OP_ID)
    assert f"/ledgerline/?q={row.id}" in page


def test_the_ledger_and_the_player_lead_to_it(client: Client) -> None:
    id_ = LedgerLine.objects.get(character_id=HERO, kind="operation").session_id
    assert f"{LIST_URL}{id_}/change/" in body(
        client, f"/admin/combat_history/character/{HERO}/change/"
    )

    answer = client.get(f"{LIST_URL}{id_}/change/")

    assert answer["Location"] == f"{URL}{quote(OP_ID)}/change/"
    assert client.get(f"{LIST_URL}no-id/change/").status_code == 302


def test_it_is_undone_from_its_page(client: Client) -> None:
    page = body(client, f"{URL}{quote(OP_ID)}/change/")
    link = re.search(r'href="([^"]*/undo/)"', page)
    assert link is not None
    assert "7 → 0" in re.sub(r"<[^>]+>", "", body(client, link[1]))

    decided = {"reason": "A bug that evening", "on_shortage": "refuse"}
    answer = client.post(link[1], decided)

    assert answer["Location"] == f"{URL}{quote(OP_ID)}/change/"
    assert told(answer) == ["The operation is undone by counter-lines."]
    assert Operation.objects.get(pk=OP_ID).undone_at is not None
    assert "/undo/" not in body(client, f"{URL}{quote(OP_ID)}/change/")


def test_a_viewer_sees_no_button(viewer: User) -> None:
    assert "/undo/" not in body(logged_in(viewer), f"{URL}{quote(OP_ID)}/change/")
