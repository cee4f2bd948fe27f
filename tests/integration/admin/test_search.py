"""The one search: every form of what people are asked by, and by indexes alone."""

from __future__ import annotations

import base64
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client

from combat_history.insight.search import id_range, search
from combat_history.models import (
    AuditEntry,
    Character,
    ExternalId,
    Operation,
    ReplayBatch,
)
from tests.support.admin import (
    LIST_URL,
    add_combat,
    body,
    change_url,
    count_queries,
    logged_in,
    viewer,
)
from tests.support.factories import add_balance, add_character, add_template
from tests.support.ids import new_session_id
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db

SEARCH_URL = f"{LIST_URL}search/"


@pytest.fixture
def client() -> Client:
    return logged_in(viewer("anna"))


def found(term: str) -> list[object]:
    return [row for kind in search(term, lambda _model: True) for row in kind.rows]


def short(id_: UUID) -> str:
    return base64.urlsafe_b64encode(id_.bytes).decode().rstrip("=")


@pytest.mark.parametrize("length", range(4, 33, 4))
def test_an_id_is_found_by_any_beginning_of_any_form(length: int) -> None:
    combat = add_combat(session_id=uuid4())
    for form in (combat.pk.hex, combat.pk.hex.upper(), str(combat.pk)):
        assert found(form[:length]) == [combat]
    assert found(short(combat.pk)[: max(6, length)]) == [combat]


@pytest.mark.parametrize("term", ["", "abc", "zzzzz", "-", "a" * 33, "\0", "x" * 5000])
def test_what_begins_no_id_is_a_range_of_none(term: str) -> None:
    assert id_range(term) is None
    assert found(term) == []


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("Ёжик Светлый", ["ежик", "ЁЖИК", "свет", "светл еж", "#Ёжик"]),
        ("Крайний Лунь", ["крайн", "лунь"]),
        ("О’Нил", ["О'Нил", "нил", "о нил"]),
        ("José García", ["jose", "GARCIA"]),
        ("wolf.king@tg", ["wolf", "king", "wolf.king"]),
        ("12345", ["12345", "123"]),
        ("Дмитрий_2", ["дмитрий"]),
    ],
)
def test_a_player_is_found_by_words_of_the_name(name: str, terms: list[str]) -> None:
    player = add_character(9001, name=name)
    add_character(9002, name="Другой")
    assert {term: found(term) for term in terms} == {term: [player] for term in terms}


def test_everything_else_is_found_by_what_it_is_called() -> None:
    player = add_character(9001)
    ExternalId.objects.create(kind="telegram", value="tg-77", character=player)
    item = add_template("moon_dust", name="Лунная пыль")
    balance = add_balance("honour")
    trade = Operation.objects.create(
        op_id="auction-15",
        id=new_session_id(),
        reason="sold",
        sha256="0" * 64,
        document={},
        answer={},
    )
    batch = ReplayBatch.objects.create(
        selection={"kind": "selected"}, actor_id=1, actor_name="a", reason="r" * 10
    )
    entry = AuditEntry.objects.create(
        actor_name="anna",
        verb="void",
        target_type="combat",
        target_id="x",
        outcome="done",
        reason="Просил Пётр из поддержки",
    )
    for term, row in (
        ("@tg-77", player),
        ("#9001", player),
        ("moon_d", item),
        ("лунн", item),
        ("honour", balance),
        ("auction-", trade),
        (batch.pk.hex[:12], batch),
        ("поддержки петр", entry),
    ):
        assert found(term) == [row], term


def test_a_single_hit_opens_and_several_are_told_by_kind(client: Client) -> None:
    wolf = add_character(9001, name="Волк")
    assert client.get(SEARCH_URL, {"q": "волк"})["Location"] == change_url(wolf)
    add_template("wolf_skin", name="Волк, шкура")

    page = text_of(body(client, SEARCH_URL, {"q": "волк"}))

    assert "Characters" in page
    assert "Item templates" in page
    assert "Nothing is called “дракон”" in body(client, SEARCH_URL, {"q": "дракон"})
    assert SEARCH_URL in body(client, "/admin/")


def test_nobody_finds_what_is_not_theirs_to_see() -> None:
    user = User.objects.create_user("items", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_itemtemplate"))
    add_character(9001, name="Волк")
    page = body(logged_in(user), SEARCH_URL, {"q": "волк"})
    assert "/character/" not in page
    assert Client().get(SEARCH_URL).status_code == 302


def test_it_costs_the_same_however_much_there_is(client: Client) -> None:
    add_template("wolf_skin", name="Волк"), add_template("wolf_fur", name="Волки")
    add_character(9000, name="Волк")
    before = count_queries(client, f"{SEARCH_URL}?q=волк")
    for n in range(30):
        add_character(9001 + n, name=f"Волк {n}")
    page = body(client, SEARCH_URL, {"q": "волк"})
    assert page.count("/character/") == 10
    assert count_queries(client, f"{SEARCH_URL}?q=волк") == before


def test_names_are_looked_up_in_an_index() -> None:
    Character.objects.bulk_create(
        Character(id=n, name=f"Игрок {n}") for n in range(1, 3_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE characters")
        cursor.execute(
            "EXPLAIN SELECT id FROM characters "
            "WHERE search_words(name) @@ to_tsquery('simple', '2999:*')"
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "characters_words" in plan
