"""Named balances in the admin: their catalogue, and wherever a balance is shown."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client

from combat_history.models import (
    AuditEntry,
    BalanceTemplate,
    Character,
    CombatHistory,
    LedgerLine,
)
from tests.conftest import Settle
from tests.support.admin import LIST_URL, body, change_url, list_url, logged_in
from tests.support.documents import HERO, SAMPLE_END, hero_fight
from tests.support.factories import add_balance
from tests.support.lookups import id_of
from tests.support.pages import text_of

DUST = "Magic dust (dust)"


@pytest.fixture
def fight(settle_here: Settle) -> UUID:
    """Seven dust were given, then five taken; of eight two were there."""
    add_balance("dust", name="Пыль", name_en="Magic dust")
    document = hero_fight(balances={"dust": 7})
    settle_here(
        document,
        hero_fight(end_timestamp=SAMPLE_END + 1, balances={"dust": -5}),
        hero_fight(end_timestamp=SAMPLE_END + 2, balances={"dust": -8}),
    )
    return id_of(document)


def test_the_catalogue_is_added_to_and_changed_and_audited(
    client: Client, db: None
) -> None:
    form = {"id": "skill:sword", "name": "Меч", "name_en": "", "floor": 0}
    url = list_url(BalanceTemplate)

    client.post(f"{url}add/", {**form, "maximum": 2**63 - 1})
    refused = text_of(body(client, f"{url}add/", {"id": "a b"}))
    row = BalanceTemplate.objects.get()
    client.post(change_url(row), {**form, "id": "other", "maximum": 99})

    assert "9223372036854775807" in body(client, f"{url}add/")
    assert "named balance" in refused
    row.refresh_from_db()
    assert (row.pk, row.floor, row.maximum) == ("skill:sword", 0, 99)
    audited = AuditEntry.objects.order_by("pk").values_list("verb", "target_type")
    assert list(audited) == [("add", "balancetemplate"), ("change", "balancetemplate")]
    assert client.post(f"{change_url(row)[:-7]}delete/").status_code == 403


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"id": "a b"}, "Letters, digits and _.:- alone."),
        ({"floor": 1}, "Zero lies between floor and maximum."),
    ],
)
def test_the_form_says_what_the_catalogue_refuses(
    client: Client, db: None, wrong: dict[str, object], told: str
) -> None:
    form = {"id": "dust", "name": "Пыль", "name_en": "", "floor": 0, "maximum": 9}

    answer = client.post(f"{list_url(BalanceTemplate)}add/", {**form, **wrong})

    assert told in text_of(answer.content.decode())
    assert not BalanceTemplate.objects.exists()


def test_a_player_and_a_combat_show_them_by_name(client: Client, fight: UUID) -> None:
    player = text_of(body(client, change_url(Character.objects.get(pk=HERO))))
    combat = text_of(body(client, change_url(CombatHistory.objects.get(pk=fight))))
    line = text_of(body(client, change_url(LedgerLine.objects.earliest("pk"))))

    assert f"{DUST} 0 Health" in player
    assert f"{DUST}: 2 → 0 (-2)" in player
    assert "penalty below the floor" in player
    assert f"{DUST}: wanted 8, applied 2" in player
    assert f"{DUST}: 0 → 7 (+7)" in combat
    assert "opening balance" in line


def test_an_undo_is_previewed_with_what_falls_short(
    client: Client, fight: UUID
) -> None:
    page = text_of(body(client, f"{LIST_URL}{fight}/undo/"))

    assert f"{DUST}: 0" in page
    assert "undo: a named balance cannot follow" in page
    assert f"{DUST} 7 0" in page


def test_a_preview_shows_them_and_what_is_missing_can_be_added(
    client: Client, settle_here: Settle
) -> None:
    document = hero_fight(balances={"mana": 5})
    settle_here(document)
    failed = CombatHistory.objects.get()
    link = "/admin/combat_history/balancetemplate/add/?id=mana"

    page = body(client, change_url(failed))
    assert link in page
    assert "mana +5" in text_of(page)
    assert link in body(client, f"{LIST_URL}{failed.pk}/preview/")

    add_balance("mana", name_en="Mana")
    page = text_of(body(client, f"{LIST_URL}{failed.pk}/preview/"))
    assert "Mana (mana) 0 +5 5" in page


def test_who_may_not_add_gets_no_link(settle_here: Settle, viewer: User) -> None:
    settle_here(hero_fight(balances={"mana": 5}))

    page = body(logged_in(viewer), change_url(CombatHistory.objects.get()))

    assert "balancetemplate/add" not in page
