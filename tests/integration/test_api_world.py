"""Characters and catalogue over HTTP: registered once, read by everybody."""

from __future__ import annotations

import json
from functools import partial
from http import HTTPStatus
from typing import Any

import psycopg
import pytest
from django.http import HttpResponse

from combat_history.api.schemas import ProblemDetails
from combat_history.models import (
    BalanceTemplate,
    Character,
    ExternalId,
    InventoryItem,
    ItemTemplate,
    LedgerLine,
)
from combat_history.reconcile.run import reconcile
from persistence.contract.document import Document
from tests.support import api
from tests.support.api import OTHER_TOKEN, TOKEN
from tests.support.documents import HERO, PELT
from tests.support.factories import add_balance, add_item
from tests.support.operating import operate, operation
from tests.support.parallel import in_threads, wait_until_blocked
from tests.support.worker import database_url

pytestmark = pytest.mark.usefixtures("world", "api")

NEWCOMER = 7001


def put(path: str, said: Document | bytes, token: str = TOKEN) -> HttpResponse:
    body = said if isinstance(said, bytes) else json.dumps(said)
    return api.request(
        "PUT", f"/api/{path}", token, data=body, content_type="application/json"
    )


def told(response: HttpResponse, status: HTTPStatus = HTTPStatus.OK) -> Any:
    assert response.status_code == status, response.content
    return json.loads(response.content)


def refused(response: HttpResponse, status: HTTPStatus) -> ProblemDetails:
    assert response.status_code == status, response.content
    return ProblemDetails.model_validate_json(response.content)


def newcomer(**over: Any) -> Document:
    return {"name": "Мирослав", "external_ids": {"telegram": "55501"}, **over}


def test_a_character_is_made_once_and_told_as_it_is() -> None:
    add_balance("dust")
    opening = {
        "xp": 300,
        "gold": 40,
        "balances": {"dust": 7},
        "items": [
            {"item_template_id": PELT, "qty": 3},
            {"item_template_id": "sword_epic", "qty": 2},
        ],
    }
    made = told(
        put(f"characters/{NEWCOMER}", newcomer(opening=opening)), HTTPStatus.CREATED
    )

    assert made == told(api.get(f"/api/characters/{NEWCOMER}"))
    assert made == {
        "id": NEWCOMER,
        "name": "Мирослав",
        "xp": 300,
        "gold": 40,
        "hp": 100,
        "energy": 100,
        "location": "",
        "balances": {"dust": 7},
        "external_ids": {"telegram": "55501"},
    }
    rows = InventoryItem.objects.filter(character_id=NEWCOMER).order_by("pk")
    assert [(r.item_template_id, r.quantity, r.durability) for r in rows] == [
        (PELT, 3, None),
        ("sword_epic", 1, 100),
        ("sword_epic", 1, 100),
    ]


def test_the_same_again_gives_nothing_again() -> None:
    said = newcomer(
        opening={"gold": 40, "items": [{"item_template_id": PELT, "qty": 1}]}
    )
    put(f"characters/{NEWCOMER}", said)
    Character.objects.filter(pk=NEWCOMER).update(hp=3)

    again = told(put(f"characters/{NEWCOMER}", {**said, "opening": {"gold": 999}}))

    assert (again["gold"], again["hp"]) == (40, 3)
    assert InventoryItem.objects.filter(character_id=NEWCOMER).count() == 1
    kinds = LedgerLine.objects.filter(character_id=NEWCOMER).values_list("kind")
    assert [kind for (kind,) in kinds] == ["opening"]


def test_a_name_and_external_ids_are_replaced_where_they_are_said() -> None:
    put(f"characters/{HERO}", {"name": "Old", "external_ids": {"telegram": "1"}})

    renamed = told(put(f"characters/{HERO}", {"name": "New"}))
    assert (renamed["name"], renamed["external_ids"]) == ("New", {"telegram": "1"})

    moved = told(
        put(f"characters/{HERO}", {"name": "New", "external_ids": {"vk": "9"}})
    )
    assert moved["external_ids"] == {"vk": "9"}


def test_an_external_id_is_one_character_s_at_most() -> None:
    put(f"characters/{HERO}", {"name": "Герой", "external_ids": {"telegram": "55501"}})

    told_so = refused(put(f"characters/{NEWCOMER}", newcomer()), HTTPStatus.CONFLICT)

    assert told_so.code == "external_id_taken"
    assert f"character {HERO}" in told_so.detail
    assert not Character.objects.filter(pk=NEWCOMER).exists()


def test_of_two_at_once_one_has_it() -> None:
    ids = range(NEWCOMER, NEWCOMER + 6)

    answers: list[int] = []

    def register(char_id: int) -> None:
        answers.append(put(f"characters/{char_id}", newcomer()).status_code)

    in_threads(*(partial(register, char_id) for char_id in ids))

    assert sorted(answers) == [201, *[409] * 5]
    assert ExternalId.objects.get().kind == "telegram"
    assert Character.objects.filter(pk__in=ids).count() == 1


@pytest.mark.parametrize(
    ("opening", "code"),
    [
        ({"items": [{"item_template_id": "moon_dust", "qty": 1}]}, "unknown_item"),
        ({"balances": {"moon": 1}}, "unknown_balance"),
    ],
)
def test_what_is_not_in_the_catalogue_makes_nobody(opening: Any, code: str) -> None:
    answer = put(f"characters/{NEWCOMER}", newcomer(opening=opening))

    assert refused(answer, HTTPStatus.CONFLICT).code == code
    assert not Character.objects.filter(pk=NEWCOMER).exists()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"name": ""},
        {"name": "  "},
        {"name": "a\u0000b"},
        {"name": "x" * 201},
        newcomer(gold=5),
        newcomer(external_ids={"Telegram": "1"}),
        newcomer(external_ids={"telegram": 1}),
        newcomer(opening={"gold": -1}),
        newcomer(opening={"xp": 2**63}),
        b'{"name": "a", "name": "b"}',
        b"[]",
        b"{",
    ],
)
def test_what_breaks_the_contract_is_refused_by_its_path(said: Any) -> None:
    answer = put(f"characters/{NEWCOMER}", said)

    assert refused(answer, HTTPStatus.UNPROCESSABLE_ENTITY).errors
    assert not Character.objects.filter(pk=NEWCOMER).exists()


def test_the_ledger_comes_newest_first_in_pages() -> None:
    operate(operation("gift", "A gift", c101={"gold_gained": 5}))

    first = told(api.get(f"/api/characters/{HERO}/ledger?limit=1"))
    rest = told(api.get(first["next"]))

    (gift,) = first["items"]
    assert (gift["kind"], gift["op_id"], gift["reason"]) == (
        "operation",
        "gift",
        "A gift",
    )
    assert (gift["gold_delta"], gift["gold_after"]) == (5, 5)
    assert [line["kind"] for line in rest["items"]] == ["opening"]
    assert rest["next"] is None


def test_a_kind_of_item_is_kept_and_found_by_loot() -> None:
    said = {"name": "Лунная пыль", "name_en": "Moon dust"}

    assert told(put("items/moon_dust", said), HTTPStatus.CREATED) == {
        "id": "moon_dust",
        "stackable": True,
        "max_durability": None,
        **said,
    }
    assert told(put("items/moon_dust", {**said, "name_en": ""}))["name_en"] == ""
    assert ItemTemplate.objects.get(pk="moon_dust").name == "Лунная пыль"


def test_a_name_of_another_item_is_refused() -> None:
    answer = put("items/moon_dust", {"name": "Шкура волка"})

    assert refused(answer, HTTPStatus.CONFLICT).code == "name_taken"


def test_of_two_items_that_take_a_name_at_once_one_is_refused() -> None:
    answers: list[HttpResponse] = []
    with psycopg.connect(database_url()) as other:
        other.execute("INSERT INTO item_templates (id, name) VALUES ('first', 'Пыль')")

        def commit_first() -> None:
            wait_until_blocked(1)
            other.commit()

        second = partial(put, "items/second", {"name": "Пыль"})
        in_threads(lambda: answers.append(second()), commit_first)

    (answer,) = answers
    assert refused(answer, HTTPStatus.CONFLICT).code == "name_taken"


def test_what_somebody_owns_stacks_as_it_did() -> None:
    add_item(HERO, PELT)

    answer = put(f"items/{PELT}", {"name": "Шкура волка", "stackable": False})

    assert refused(answer, HTTPStatus.CONFLICT).code == "in_use"
    told(put(f"items/{PELT}", {"name": "Шкура", "max_durability": 5}))


def test_a_kind_of_balance_is_kept() -> None:
    told(
        put("balances/rating:pvp", {"name": "Рейтинг", "floor": -50}),
        HTTPStatus.CREATED,
    )
    told(put("balances/rating:pvp", {"name": "Рейтинг", "floor": -60, "maximum": 10}))

    kept = BalanceTemplate.objects.get(pk="rating:pvp")
    assert (kept.floor, kept.maximum) == (-60, 10)
    assert put("balances/rating:pvp", {"name": "x", "floor": 1}).status_code == 422
    assert put("balances/a b", {"name": "x"}).status_code == 400


def test_registering_is_its_own_scope_and_reading_is_another() -> None:
    for path in (f"characters/{HERO}", "items/x", "balances/x"):
        assert put(path, {"name": "x"}, OTHER_TOKEN).status_code == HTTPStatus.FORBIDDEN
    for path in (f"characters/{HERO}", f"characters/{HERO}/ledger"):
        assert api.get(f"/api/{path}", OTHER_TOKEN).status_code == HTTPStatus.OK
    nobody = api.get(f"/api/characters/{NEWCOMER}")
    assert refused(nobody, HTTPStatus.NOT_FOUND).code == "unknown_character"
    assert api.request("DELETE", f"/api/characters/{HERO}").status_code == 405


def test_what_a_character_comes_with_adds_up() -> None:
    add_balance("dust")
    opening = {"gold": 9, "balances": {"dust": 4}}
    opening |= {"items": [{"item_template_id": PELT, "qty": 3}]}
    put(f"characters/{NEWCOMER}", newcomer(opening=opening))

    assert not reconcile().findings
