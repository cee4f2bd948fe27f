"""What to tell a player: the bot's text of a fight, found by time and opponent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from combat_history.models import Character, Triage
from combat_history.reading.lookup import find_result
from combat_history.reading.player_text import message_text
from tests.conftest import Settle
from tests.support.admin import (
    add_combat,
    audit,
    body,
    change_url,
    logged_in,
    told,
    unknown_loot,
    viewer,
)
from tests.support.documents import (
    HERO,
    PELT,
    SAMPLE_END,
    make_document,
    make_participant,
)

pytestmark = pytest.mark.usefixtures("world")


def hero_page(client: Client, **query: str) -> Any:
    response = client.get(change_url(Character.objects.get(pk=HERO)), query)
    assert response.status_code == 200
    return response


def test_the_answer_is_the_text_of_the_bot_in_each_language(
    client: Client, settle_here: Settle
) -> None:
    won = make_document({str(HERO): make_participant(xp_gained=5, gold_gained=20)})
    won["participants"]["wolf_1"] = {"name": "Волк", "team": "wild"}
    failed = unknown_loot(end_timestamp=SAMPLE_END - 60)
    settle_here(won, failed)
    page = hero_page(client)
    answer = page.context["answer"]
    texts = {code: text for code, _name, text in answer.texts}
    for code, text in texts.items():
        assert text == message_text(find_result(won["session_id"], HERO), code)
    assert "Бой уже завершен!" in texts["ru"]
    assert "20 gold" in texts["en"]
    fight, of_failed = page.context["fights"]
    assert fight.opponents == "Волк"
    assert of_failed.answer_url.endswith("#answer")

    told = hero_page(client, fight=failed["session_id"])

    texts = {code: text for code, _name, text in told.context["answer"].texts}
    assert "under review" in texts["en"]


def test_fights_of_a_time_are_asked_for(client: Client) -> None:
    at = datetime.fromtimestamp(SAMPLE_END, UTC)
    for minutes in (0, 60, 120):
        add_combat(finished_at=at + timedelta(minutes=minutes))

    def shown(**query: str) -> list[datetime]:
        return [f.at for f in hero_page(client, **query).context["fights"]]

    hour = at + timedelta(hours=1)
    assert shown(since=f"{hour:%Y-%m-%dT%H:%M}", until=f"{hour:%Y-%m-%dT%H:%M}:59") == [
        hour
    ]
    assert len(shown(since=f"{hour:%Y-%m-%dT%H:%M}")) == 2
    for nonsense in ("yesterday", "2024-13-01T00:00"):
        assert len(shown(since=nonsense)) == 3
    assert shown(since="9999-12-31T23:59") == []


def test_a_fight_of_somebody_else_has_no_answer_here(client: Client) -> None:
    other = add_combat(participant_ids=[9009])
    page = hero_page(client, fight=str(other.pk))
    assert page.context["answer"] is None
    hero_page(client, fight="nonsense")


def test_fights_are_found_by_opponent_item_and_amount(
    client: Client, settle_here: Settle
) -> None:
    hero = str(HERO)
    loot = {"items_gained": [{"item_template_id": PELT, "qty": 3}]}
    wolf = make_document({hero: make_participant(gold_gained=77, **loot)})
    wolf["participants"]["wolf_1"] = {"name": "Чёрный волк", "team": "wild"}
    boar = make_document({hero: make_participant(xp_gained=40, gold_gained=1)})
    boar["participants"]["boar_1"] = {"name": "Кабан", "team": "wild"}
    settle_here(wolf, boar)

    def found(term: str, **query: str) -> list[str]:
        page = hero_page(client, **{"with": term, **query})
        return [fight.opponents for fight in page.context["fights"]]

    for term in ("черный", "wolf_1", PELT, "шкура", "77", "3"):
        assert found(term) == ["Чёрный волк"], term
    assert found("40") == ["Кабан"]
    for term in ("дракон", "78", str(HERO), "9" * 30, "'"):
        assert found(term) == [], term
    assert found("волк", since="2999-01-01T00:00") == []


def test_promised_stands_beside_what_was_received_and_balances_are_drawn(
    client: Client, settle_here: Settle
) -> None:
    hero = str(HERO)
    documents = [
        make_document(
            {hero: make_participant(xp_gained=10, gold_gained=gold)},
            end_timestamp=SAMPLE_END + gold,
        )
        for gold in (5, 7)
    ]
    settle_here(*documents, unknown_loot(end_timestamp=SAMPLE_END - 60))
    page = hero_page(client)

    newest, *_others, failed = page.context["fights"]
    assert (newest.promised, newest.gold.delta) == ("+10 XP, +7 gold", "+7")
    assert failed.promised
    assert failed.gold is None
    text = page.content.decode()
    assert text.count('<circle class="combat-mark"') == 4
    assert page.context["course"].rows[0].amounts[:2] == [12, 20]


def test_support_notes_and_hands_a_player_over(world: None) -> None:
    hero = Character.objects.get(pk=HERO)
    sam = viewer("sam")
    boss = User.objects.create_superuser("boss")
    data = {
        "target": str(HERO),
        "note": "asks for <b>the pelt</b>",
        "assigned_to": "boss",
    }
    url = "/admin/combat_history/character/triage/"
    assert logged_in(sam).post(url, data).status_code == 403
    assert "Keep the note" not in body(logged_in(sam), change_url(hero))
    sam.user_permissions.add(Permission.objects.get(codename="note_player"))
    client = logged_in(User.objects.get(pk=sam.pk))

    response = client.post(url, data)

    assert response["Location"] == change_url(hero)
    assert told(response) == ["Saved for 1 thing."]
    page = body(client, change_url(hero))
    assert "asks for &lt;b&gt;the pelt" in page
    assert "assigned to boss" in page
    card = body(logged_in(boss), "/admin/")
    assert f"({HERO}): handed over to boss" in card
    assert "asks for &lt;b&gt;the pelt" in card
    assert audit(HERO)[-1].startswith("assign done")
    client.post(url, {**data, "assigned_to": "", "note": "was given it"})
    assert "handed over to" not in body(logged_in(boss), "/admin/")
    assert Triage.objects.get().note == "was given it"
    # Of what is decided about, they may say nothing still.
    combat = add_combat()
    of_combats = "/admin/combat_history/combathistory/triage/"
    said = {"target": str(combat.pk), "verb": "acknowledge"}
    assert client.post(of_combats, said).status_code == 403
