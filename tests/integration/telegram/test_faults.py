"""What the bot does where Telegram or the HTTP API does not do its part."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import pytest

from tests.integration.telegram.conftest import PLAYER, Press, methods
from tests.integration.telegram.test_outcomes import (
    ANSWER,
    EDIT,
    EDIT_MARKUP,
    OUTCOME,
    SEND,
    UNKNOWN,
)
from tests.support.bot_api import BotApi, Reply, inaccessible, refusal
from tests.support.ids import new_session_id
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world", "bot")

APOLOGY = "Сейчас не удаётся узнать итог боя. Попробуйте чуть позже."

Log = Callable[[], str]

NOT_MODIFIED = refusal(
    400,
    "Bad Request: message is not modified: specified new message content and reply "
    "markup are exactly the same as a current content and reply markup of the message",
)
BROKEN = {
    "error": refusal(500, "Internal Server Error"),
    "gateway": Reply(502, "<html>Bad Gateway</html>"),
    "cut": Reply(body=None),
}


def test_message_that_is_already_as_it_should_be_is_a_success(
    settled: UUID, press: Press, bot_api: BotApi, log_of: Log
) -> None:
    bot_api.fail_next(EDIT, NOT_MODIFIED)

    assert methods(press(settled).calls) == [ANSWER, EDIT]
    assert "Cause exception" not in log_of()


@pytest.mark.parametrize(
    "description",
    [
        "Bad Request: message to edit not found",
        "Bad Request: message can't be edited",
        "Bad Request: MESSAGE_ID_INVALID",
        "Bad Request: there is no text in the message to edit",
    ],
)
def test_message_that_cannot_be_edited_is_answered_by_a_new_one(
    settled: UUID, press: Press, bot_api: BotApi, description: str
) -> None:
    bot_api.fail_next(EDIT, refusal(400, description))

    pressed = press(settled)

    assert methods(pressed.calls) == [ANSWER, EDIT, SEND]
    assert pressed.calls[2].params["text"] == OUTCOME
    assert pressed.calls[2].keyboard() == pressed.calls[1].keyboard()


def test_other_refusals_reach_the_bots_error_handler(
    settled: UUID, press: Press, bot_api: BotApi, log_of: Log
) -> None:
    bot_api.fail_next(EDIT, refusal(400, "Bad Request: chat not found"))

    assert methods(press(settled).calls) == [ANSWER, EDIT]
    wait_until(lambda: "chat not found" in log_of(), "the handler was told")


def test_buttons_of_an_unknown_fight_that_are_gone_are_gone(
    press: Press, bot_api: BotApi, log_of: Log
) -> None:
    bot_api.fail_next(EDIT_MARKUP, NOT_MODIFIED)

    assert methods(press(new_session_id()).calls) == [ANSWER, EDIT_MARKUP]
    assert "Cause exception" not in log_of()


def test_unknown_fight_on_an_inaccessible_message_is_only_answered(
    press: Press, bot_api: BotApi
) -> None:
    message = inaccessible(PLAYER, bot_api.new_id())

    (answer,) = press(new_session_id(), message=message).calls

    assert answer.params["text"] == UNKNOWN


def test_flood_wait_is_respected_and_then_it_is_tried_once_more(
    settled: UUID, press: Press, bot_api: BotApi
) -> None:
    bot_api.fail_next(EDIT, refusal(429, "Too Many Requests", retry_after=1))

    pressed = press(settled)

    assert methods(pressed.calls) == [ANSWER, EDIT, EDIT]
    assert pressed.calls[2].received_at - pressed.calls[1].received_at >= 1


def test_second_flood_wait_ends_the_try(
    settled: UUID, press: Press, bot_api: BotApi, log_of: Log
) -> None:
    bot_api.fail_next(EDIT, *[refusal(429, "Too Many", retry_after=1)] * 2)

    assert methods(press(settled).calls) == [ANSWER, EDIT, EDIT]
    assert "given up" in log_of()
    assert "Cause exception" not in log_of()


def test_long_flood_wait_is_not_waited_for(
    settled: UUID, press: Press, bot_api: BotApi, log_of: Log
) -> None:
    bot_api.fail_next(EDIT, refusal(429, "Too Many", retry_after=3600))

    assert methods(press(settled).calls) == [ANSWER, EDIT]
    assert "given up" in log_of()


def test_player_who_blocked_the_bot_is_only_logged(
    settled: UUID, press: Press, bot_api: BotApi, log_of: Log
) -> None:
    bot_api.fail_next(SEND, refusal(403, "Forbidden: bot was blocked by the user"))

    pressed = press(settled, message=inaccessible(PLAYER, bot_api.new_id()))

    assert methods(pressed.calls) == [ANSWER, SEND]
    assert "bot was blocked by the user" in log_of()
    assert "Cause exception" not in log_of()


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_server_is_asked_once_more(
    settled: UUID, press: Press, bot_api: BotApi, kind: str
) -> None:
    bot_api.fail_next(EDIT, BROKEN[kind])

    assert methods(press(settled).calls) == [ANSWER, EDIT, EDIT]


@pytest.mark.parametrize("kind", BROKEN)
def test_server_that_stays_broken_is_left_alone_until_the_next_press(
    settled: UUID, press: Press, bot_api: BotApi, log_of: Log, kind: str
) -> None:
    bot_api.fail_next(EDIT, *[BROKEN[kind]] * 2)
    message = press.message()

    assert methods(press(settled, message=message).calls) == [ANSWER, EDIT, EDIT]
    assert "given up" in log_of()
    assert "Cause exception" not in log_of()

    assert methods(press(settled, message=message).calls) == [ANSWER, EDIT]


@pytest.mark.parametrize(
    "fault",
    [
        refusal(
            400,
            "Bad Request: query is too old and response timeout expired or query ID "
            "is invalid",
        ),
        refusal(403, "Forbidden: bot was blocked by the user"),
    ],
)
def test_query_that_cannot_be_answered_does_not_stop_the_edit(
    settled: UUID, press: Press, bot_api: BotApi, log_of: Log, fault: Reply
) -> None:
    bot_api.fail_next(ANSWER, fault)

    assert methods(press(settled).calls) == [ANSWER, EDIT]
    assert "Cause exception" not in log_of()


def test_the_edit_waits_for_the_answer(
    settled: UUID, press: Press, bot_api: BotApi
) -> None:
    slow = Reply(200, '{"ok": true, "result": true}', delay_seconds=0.5)
    bot_api.fail_next(ANSWER, slow)

    answer, edit = press(settled).calls

    assert edit.received_at - answer.received_at >= 0.5


@pytest.mark.parametrize("fault", ["frozen", "cut"])
def test_while_the_http_api_is_away_the_buttons_stay(
    settled: UUID, press: Press, road: Proxy, log_of: Log, fault: str
) -> None:
    message = press.message()
    press(new_session_id())
    if fault == "frozen":
        road.pause()
    else:
        for _ in range(2):  # aiohttp asks again where a kept connection breaks
            road.lose_reply_to(b"/result?")
    started = time.monotonic()
    try:
        (answer,) = press(settled, message=message).calls
    finally:
        road.resume()
        road.forget()

    assert time.monotonic() - started < 5
    assert answer.params["text"] == APOLOGY
    # A client keeps no apology.
    assert answer.params["cache_time"] == "0"
    assert "no answer about combat" in log_of()

    assert methods(press(settled, message=message).calls) == [ANSWER, EDIT]
