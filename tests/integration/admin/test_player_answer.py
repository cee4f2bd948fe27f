"""What to tell a player: the bot's text of a fight, found by time and opponent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from combat_history.models import Character
from combat_history.reading.lookup import find_result
from combat_history.reading.player_text import message_text
from tests.conftest import Settle
from tests.support.admin import add_combat, change_url, unknown_loot
from tests.support.documents import HERO, SAMPLE_END, make_document, make_participant

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
