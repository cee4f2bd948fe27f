"""What a player sees who presses a button of an old fight."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest
import redis

from combat_history.models import CombatHistory
from persistence.contract import redis_keys
from persistence.tasks import settle_inbox
from tests.conftest import Settle
from tests.integration.telegram.conftest import (
    NOBODY,
    PLAYER,
    STRANGER,
    Press,
    data_of,
    methods,
)
from tests.support.bot_api import BotApi, BotProcess, inaccessible
from tests.support.documents import HERO, make_document, make_participant
from tests.support.factories import add_template
from tests.support.ids import new_session_id
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world", "bot")

OUTCOME = """Бой уже завершен!
Победитель: Синие
Награда: 100 золота
Опыт: 1250 очков
Добыча: Шкура волка
Статус: начислено"""
UNKNOWN = "Бой устарел или не существует"
GROUP = -100500

ANSWER, EDIT, SEND = "answerCallbackQuery", "editMessageText", "sendMessage"
EDIT_MARKUP, EDIT_CAPTION = "editMessageReplyMarkup", "editMessageCaption"


def test_old_button_of_a_settled_fight_turns_into_its_outcome(
    settled: UUID, press: Press
) -> None:
    pressed = press(settled)

    assert pressed.is_handled
    # In this order: the query is answered first.
    answer, edit = pressed.calls
    assert (answer.method, answer.params["text"]) == (ANSWER, OUTCOME)
    assert (answer.params["cache_time"], answer.params["show_alert"]) == ("60", "false")
    assert (edit.method, edit.params["text"]) == (EDIT, OUTCOME)
    assert int(edit.params["message_id"]) == pressed.message_id
    assert edit.keyboard() == [("Посмотреть итог", data_of(settled, "result"))]
    # The bot's own parse mode is HTML; names of items are not.
    assert "parse_mode" not in edit.params


def test_view_button_sends_the_whole_outcome(settle_here: Settle, press: Press) -> None:
    names = [f"Кинжал <b>№{number}</b>" for number in range(20)]
    for number, name in enumerate(names):
        add_template(f"dagger_{number}", name=name)
    report = {"loot_obtained": [{"name": name, "qty": 1} for name in names]}
    document = make_document({str(HERO): make_participant(ui_report=report)})
    settle_here(document)
    fight = UUID(document["session_id"])

    shortened = press(fight).calls[1].params["text"]
    pressed = press(fight, "result")

    assert len(shortened) <= 200
    assert shortened.endswith("…\nСтатус: начислено")
    assert methods(pressed.calls) == [ANSWER, SEND]
    sent = pressed.calls[1]
    assert ", ".join(names) in sent.params["text"]
    assert int(sent.params["chat_id"]) == PLAYER
    assert sent.keyboard() == []
    assert "parse_mode" not in sent.params


def test_result_can_be_viewed_on_the_same_message_at_once_and_once_a_minute(
    settled: UUID, press: Press
) -> None:
    message = press.message()

    assert methods(press(settled, message=message).calls) == [ANSWER, EDIT]
    assert methods(press(settled, "result", message=message).calls) == [ANSWER, SEND]
    assert methods(press(settled, "result", message=message).calls) == [ANSWER]


def test_message_that_is_no_longer_accessible_is_answered_by_a_new_one(
    settled: UUID, press: Press, bot_api: BotApi
) -> None:
    pressed = press(settled, message=inaccessible(PLAYER, bot_api.new_id()))

    assert methods(pressed.calls) == [ANSWER, SEND]
    sent = pressed.calls[1]
    assert sent.params["text"] == OUTCOME
    assert sent.keyboard() == [("Посмотреть итог", data_of(settled, "result"))]


def test_picture_of_a_fight_gets_the_outcome_as_its_caption(
    settled: UUID, press: Press
) -> None:
    photo = {"file_id": "1", "file_unique_id": "1", "width": 1, "height": 1}

    pressed = press(settled, message=press.message(photo=[photo], caption="Волк"))

    assert methods(pressed.calls) == [ANSWER, EDIT_CAPTION]
    assert pressed.calls[1].params["caption"] == OUTCOME
    assert pressed.calls[1].keyboard() == [
        ("Посмотреть итог", data_of(settled, "result"))
    ]


@pytest.mark.parametrize("user", [PLAYER, STRANGER])
def test_fight_that_is_none_of_the_players_loses_its_buttons(
    settled: UUID, press: Press, user: int
) -> None:
    pressed = press(uuid4() if user == PLAYER else settled, user=user)

    answer, edit = pressed.calls
    assert (answer.method, answer.params["text"]) == (ANSWER, UNKNOWN)
    assert answer.params["cache_time"] == "5"
    assert edit.method == EDIT_MARKUP
    assert int(edit.params["message_id"]) == pressed.message_id
    assert edit.keyboard() == []


def test_running_fight_is_left_to_the_routers_that_follow(
    redis_client: redis.Redis, press: Press
) -> None:
    fight = new_session_id()
    key = redis_keys.session(fight)
    redis_client.hset(key, "status", "active")
    redis_client.hset(key, "participants", json.dumps([HERO]))

    pressed = press(fight)

    (answer,) = pressed.calls
    assert answer.params["text"] == "Эта кнопка здесь не работает."


def test_user_without_a_character_is_left_to_the_routers_that_follow(
    settled: UUID, press: Press
) -> None:
    (answer,) = press(settled, user=NOBODY).calls

    assert answer.params["text"] == "Эта кнопка здесь не работает."


@pytest.mark.parametrize(
    "data",
    [
        "cs|attack|goblin",
        "cs|attack",
        "cs|attack|" + "/" * 22,
        # Bits that no id has.
        "cs|attack|" + "A" * 21 + "B",
        "c_ctrl:attack",
        "|" * 64,
        "Й" * 32,
    ],
)
def test_foreign_data_is_left_to_the_routers_that_follow(
    press: Press, data: str
) -> None:
    (answer,) = press(data).calls

    assert answer.params["text"] == "Эта кнопка здесь не работает."


@pytest.mark.parametrize("language", ["en", "en-GB", "de", None])
def test_players_who_do_not_speak_russian_are_told_in_english(
    settled: UUID, press: Press, language: str | None
) -> None:
    answer, edit = press(settled, language=language).calls

    assert answer.params["text"].startswith("The fight is already over!\nWinner: Blue")
    assert edit.keyboard() == [("View the result", data_of(settled, "result"))]


def test_in_a_group_only_the_presser_learns_what_he_got(
    settled: UUID, press: Press
) -> None:
    answer, edit = press(settled, message=press.message(GROUP)).calls

    assert (answer.params["text"], answer.params["show_alert"]) == (OUTCOME, "true")
    assert (edit.method, "text" in edit.params) == (EDIT_MARKUP, False)
    assert edit.keyboard() == [("Посмотреть итог", data_of(settled, "result"))]

    viewed = press(settled, "result", message=press.message(GROUP))

    assert methods(viewed.calls) == [ANSWER]
    assert viewed.calls[0].params["show_alert"] == "true"


def test_in_a_group_a_stranger_takes_nobodys_buttons_away(
    settled: UUID, press: Press
) -> None:
    pressed = press(settled, user=STRANGER, message=press.message(GROUP))

    assert methods(pressed.calls) == [ANSWER]
    assert pressed.calls[0].params["text"] == UNKNOWN


def test_message_sent_in_inline_mode_is_answered_with_an_alert(
    settled: UUID, press: Press, bot: BotProcess, bot_api: BotApi
) -> None:
    bot.wait_done(press.send(settled, inline_message_id="1"))

    (answer,) = bot_api.calls()
    assert (answer.params["text"], answer.params["show_alert"]) == (OUTCOME, "true")


@pytest.mark.parametrize("action", ["attack", "result"])
def test_mashing_a_dead_button_sends_one_message(
    settled: UUID, press: Press, bot: BotProcess, bot_api: BotApi, action: str
) -> None:
    message = inaccessible(PLAYER, bot_api.new_id())

    bot.wait_all_done([press.send(settled, action, message=message) for _ in range(20)])

    assert len(bot_api.calls(ANSWER)) == 20
    assert len(bot_api.calls(SEND)) == 1
    assert len(bot_api.calls()) == 21


def test_mashing_a_dead_button_edits_once(
    settled: UUID, press: Press, bot: BotProcess, bot_api: BotApi
) -> None:
    message = press.message()

    bot.wait_all_done([press.send(settled, message=message) for _ in range(20)])

    assert len(bot_api.calls(ANSWER)) == 20
    assert len(bot_api.calls(EDIT)) == 1


def test_the_bots_own_fight_from_its_first_blow_to_its_old_button(
    press: Press, bot: BotProcess, bot_api: BotApi
) -> None:
    user = {"id": PLAYER, "is_bot": False, "first_name": "H", "language_code": "ru"}
    command = press.message(text="/fight", entities=COMMAND) | {"from": user}
    bot.wait_done(bot_api.push(message=command))
    (met,) = bot_api.calls()
    (attack_caption, attack), (_, flee) = met.keyboard()
    assert (met.method, attack_caption) == (SEND, "Атака")

    (blow,) = press(attack).calls
    assert blow.params["text"] == "Волк повержен!"

    answer, edit = press(flee).calls
    assert "Статус: начисляется" in answer.params["text"]
    assert answer.params["cache_time"] == "5"
    ((_, view),) = edit.keyboard()

    settle_inbox()

    wait_until(
        lambda: CombatHistory.objects.get().settlement_status == "processed",
        "the fight is settled",
    )
    told = press(view).calls[1].params["text"]
    assert told.startswith("Бой уже завершен!\nПобедитель: Синие\nНаграда: 5 золота")
    assert told.endswith("Статус: начислено")


COMMAND = [{"type": "bot_command", "offset": 0, "length": 6}]


def test_the_bot_asks_telegram_for_what_it_handles(bot_api: BotApi) -> None:
    wait_until(lambda: bot_api.calls("getUpdates"), "it asks")

    asked = json.loads(bot_api.calls("getUpdates")[0].params["allowed_updates"])
    assert sorted(asked) == ["callback_query", "message"]
