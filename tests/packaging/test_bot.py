"""The bot's side on the oldest aiogram; tests/integration/telegram has the newest."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from uuid import UUID

from tests.conftest import Settle
from tests.integration.telegram.conftest import PLAYER, Press
from tests.packaging.environments import interpreter
from tests.support.api import TOKEN
from tests.support.bot_api import BotApi, running_bot
from tests.support.documents import HERO, sample_document
from tests.support.web import running_web


def test_an_old_button_is_answered(settle_here: Settle, tmp_path: Path) -> None:
    document = sample_document()
    settle_here(document)

    with (
        closing(BotApi()) as bot_api,
        running_web(tmp_path / "web.log") as web,
        running_bot(
            tmp_path,
            bot_api,
            web.address,
            TOKEN,
            {PLAYER: HERO},
            interpreter("bot-oldest"),
        ) as bot,
    ):
        pressed = Press(bot, bot_api)(UUID(document["session_id"]))

    assert pressed.is_handled
    edits = [c.params["text"] for c in pressed.calls if c.method == "editMessageText"]
    assert ["Победитель: Синие" in text for text in edits] == [True]
