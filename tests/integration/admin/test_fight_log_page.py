"""The page of the fight log, and its plain text."""

from __future__ import annotations

import base64
import html
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from combat_history.models import CombatHistory, CombatReplay
from persistence.contract.fight_log import pack
from tests.conftest import Settle
from tests.support.admin import (
    LIST_URL,
    add_combat,
    body,
    change_url,
    count_queries,
    logged_in,
)
from tests.support.documents import HERO, make_document, sample_document
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.pages import text_of
from tests.support.web import running_web

SCRIPT = "<script>alert('x')</script>"


def add_fight(replay_log: Any, **over: Any) -> CombatHistory:
    combat = add_combat(**over)
    CombatReplay.objects.create(session_id=combat.pk, data=pack(replay_log))
    return combat


def log_url(combat: CombatHistory) -> str:
    return f"{LIST_URL}{combat.pk}/fight-log/"


def turn(**over: Any) -> dict[str, Any]:
    told = {"turn": 1, "actor": "101", "target": "wolf", "action": "hit", "amount": 9}
    return {**told, "hp": {"wolf": 21}, **over}


def test_a_settled_fight_can_be_watched(client: Client, settle_here: Settle) -> None:
    hp = {"goblin_1": 60, str(HERO): 450}
    log = [turn(target="goblin_1", amount=40, hp=hp), turn(turn=2, action="rest")]
    document = sample_document(replay_log=log)
    document["participants"]["goblin_1"] = {"name": "Гоблин"}
    settle_here(document)
    combat = CombatHistory.objects.get(pk=document["session_id"])
    page = body(client, log_url(combat))
    text = text_of(page)
    assert "1 Герой hit Гоблин 40 Герой 450, Гоблин 60" in text
    assert page.count('<svg class="combat-chart"') == 3  # the wolf of turn 2, too
    assert "Health of Гоблин over 2 turns: 60 when first told, 60 at the lowest" in page
    assert f'href="{log_url(combat)}"' in body(client, change_url(combat))


def test_namesakes_are_told_apart_by_their_keys(client: Client) -> None:
    names = {key: {"name": "Волк"} for key in ("wolf_1", "wolf_2")}
    combat = add_fight(
        [turn(actor="wolf_1", target="wolf_2", hp={"wolf_2": 4})],
        result_payload=make_document({"101": {"name": "Герой"}, **names}),
    )
    text = text_of(body(client, log_url(combat)))
    assert "1 Волк (wolf_1) hit Волк (wolf_2) 9 Волк (wolf_2) 4" in text


def test_plain_text_is_plain(client: Client) -> None:
    add_character(HERO, name="Герой\nлжец \u202e")
    combat = add_fight([turn(), f"rain {SCRIPT}"])
    response = client.get(log_url(combat), {"format": "txt"})
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response.content.decode().splitlines() == [
        str(combat.pk),
        "1. Герой лжец \\u202e: hit → wolf (9); health: wolf 21",
        f"2. rain {SCRIPT}",
    ]


def test_a_stored_script_stays_text(client: Client) -> None:
    combat = add_fight(
        [
            turn(actor=SCRIPT, target=SCRIPT, action=SCRIPT, hp={SCRIPT: 5}),
            {SCRIPT: SCRIPT},
            SCRIPT,
        ],
        result_payload=make_document({"101": {"name": SCRIPT}}),
    )
    page = body(client, log_url(combat))
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") >= 7
    broken = add_fight(SCRIPT)
    page = body(client, log_url(broken))
    assert "<script>alert" not in page
    assert "no base64" in page


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("%%%", "no base64"),
        (base64.b64encode(b"\x78\x9c" + b"\xff" * 9).decode(), "is broken"),
        ([], "No fight log is kept"),
        (None, "No fight log is kept"),
    ],
)
def test_a_log_that_cannot_be_shown_says_why(
    client: Client, log: Any, told: str
) -> None:
    combat = add_fight(log)
    assert told in body(client, log_url(combat))
    assert client.get(log_url(combat), {"format": "txt"}).status_code == 200


def test_a_fight_without_a_log_offers_no_viewer(client: Client) -> None:
    combat = add_combat()
    assert log_url(combat) not in body(client, change_url(combat))
    assert "No fight log is kept" in body(client, log_url(combat))


def test_damaged_storage_is_told(client: Client) -> None:
    combat = add_combat()
    CombatReplay.objects.create(session_id=combat.pk, data=b"\x00damaged")
    assert "is broken" in body(client, log_url(combat))


def test_nobody_else_may_watch(client: Client, viewer: User) -> None:
    combat = add_fight([turn()])
    assert client.get(f"{LIST_URL}{new_session_id()}/fight-log/").status_code == 404
    assert Client().get(log_url(combat)).status_code == 302
    assert logged_in(viewer).get(log_url(combat)).status_code == 200
    viewer.user_permissions.remove(
        Permission.objects.get(codename="view_combathistory")
    )
    assert logged_in(viewer).get(log_url(combat)).status_code == 403


def test_the_viewer_costs_a_fixed_number_of_queries(client: Client) -> None:
    few = add_fight([turn()])
    many = add_fight([turn(actor=str(n), hp={str(n): n}) for n in range(300)])
    body(client, log_url(few))
    counts = [count_queries(client, log_url(combat)) for combat in (few, many)]
    assert counts == [6, 6]


SURROGATE = "\ud800"

AWKWARD: list[Any] = [
    (SURROGATE, "\\ud800"),
    ({SURROGATE: [SURROGATE]}, "\\ud800"),
    ("\0", "\\u0000"),
    ({"\0": "\0"}, "\\u0000"),
    (float("nan"), "NaN"),
    (float("-inf"), "-Infinity"),
    pytest.param(10**4_000, "1000", id="a number of 4001 digits"),
    ("\u202e\u2028", "\\u202e"),
]
"""JSON that some engine may write, and what a person sees of it."""


@pytest.mark.parametrize(("value", "shown"), AWKWARD)
def test_any_value_anywhere_in_a_log_is_shown(
    client: Client, value: Any, shown: str
) -> None:
    fields = ("turn", "actor", "target", "action", "amount")
    logs = [
        value,
        [value],
        {"turns": [value]},
        [{"event": value}],
        *([turn(**{field: value})] for field in fields),
        [turn(hp={SURROGATE: 5, "wolf": value})],
    ]
    for log in logs:
        url = log_url(add_fight(log))
        page = body(client, url)
        plain = client.get(url, {"format": "txt"})
        assert plain.status_code == 200
        if log is not logs[-1]:
            assert shown in html.unescape(page)


def test_an_awkward_log_is_answered_over_asgi(
    world: None, tmp_path: Path, settings: Settings
) -> None:
    boss = logged_in(User.objects.create_superuser("boss"))
    url = log_url(add_fight([turn(actor=SURROGATE)]))
    cookie = f"{settings.SESSION_COOKIE_NAME}={boss.cookies['sessionid'].value}"
    with running_web(tmp_path / "uvicorn.log", DEBUG="true") as web:
        asked = urllib.request.Request(web.address + url, headers={"Cookie": cookie})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert "\\ud800" in answer.read().decode()
