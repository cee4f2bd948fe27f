from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from persistence.contract.document import Document
from persistence.contract.ids import short_id
from tests.conftest import Settle
from tests.support.api import TOKEN
from tests.support.bot_api import BotApi, BotProcess, Call, a_message, running_bot
from tests.support.documents import HERO, sample_document
from tests.support.proxy import Proxy, proxy_to
from tests.support.roles import NAMES, url_as
from tests.support.web import Web, running_web

PLAYER, STRANGER, NOBODY = 777, 778, 779
"""Telegram users: of character 101, of character 102, and without a character."""


@pytest.fixture(scope="package")
def web(
    database_roles: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    log, url = tmp_path_factory.mktemp("web") / "uvicorn.log", url_as(NAMES.web)
    with running_web(log, DATABASE_URL=url) as web:
        yield web


@pytest.fixture(scope="package")
def road(web: Web) -> Iterator[Proxy]:
    """Between the bot and the HTTP API."""
    address = urlsplit(web.address)
    with proxy_to(address.hostname or "", address.port or 0) as road:
        yield road


@pytest.fixture(scope="package")
def shared_bot_api() -> Iterator[BotApi]:
    api = BotApi()
    yield api
    api.close()


@pytest.fixture(scope="package")
def bot(
    shared_bot_api: BotApi, road: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BotProcess]:
    with running_bot(
        tmp_path_factory.mktemp("bot"),
        shared_bot_api,
        f"http://127.0.0.1:{road.port}",
        TOKEN,
        {PLAYER: HERO, STRANGER: 102},
    ) as bot:
        yield bot


@pytest.fixture
def bot_api(shared_bot_api: BotApi, bot: BotProcess) -> BotApi:
    shared_bot_api.forget()
    return shared_bot_api


@pytest.fixture
def settled(settle_here: Settle) -> UUID:
    """The sample fight, settled."""
    document: Document = sample_document()
    settle_here(document)
    return UUID(document["session_id"])


class Pressed(NamedTuple):
    message_id: int
    calls: list[Call]
    is_handled: bool


class Press:
    """A press of a button, from the Update JSON to the last call it leads to."""

    def __init__(self, bot: BotProcess, bot_api: BotApi) -> None:
        self._bot = bot
        self._bot_api = bot_api

    def __call__(
        self,
        fight: UUID | str,
        action: str = "attack",
        *,
        message: dict[str, Any] | None = None,
        **query: Any,
    ) -> Pressed:
        """On a text message in a private chat, unless told otherwise."""
        if message is None:
            message = self.message()
        before = len(self._bot_api.calls())
        update = self.send(fight, action, message=message, **query)
        is_handled = self._bot.wait_done(update)
        calls = self._bot_api.calls()[before:]
        return Pressed(message["message_id"], calls, is_handled)

    def send(
        self,
        fight: UUID | str,
        action: str = "attack",
        *,
        user: int = PLAYER,
        language: str | None = "ru",
        **query: Any,
    ) -> int:
        """Only the press; returns the update's id."""
        sender = {"id": user, "is_bot": False, "first_name": "Hero"}
        if language is not None:
            sender["language_code"] = language
        callback = {
            "id": str(self._bot_api.new_id()),
            "from": sender,
            "chat_instance": "1",
            "data": data_of(fight, action),
            **query,
        }
        return self._bot_api.push(callback_query=callback)

    def message(self, chat: int = PLAYER, **over: Any) -> dict[str, Any]:
        """A message of its own, with attack buttons nobody looks at."""
        content = over or {"text": "Перед вами волк."}
        return a_message(chat, self._bot_api.new_id(), **content)


@pytest.fixture
def press(bot: BotProcess, bot_api: BotApi) -> Press:
    return Press(bot, bot_api)


@pytest.fixture
def log_of(bot: BotProcess) -> Callable[[], str]:
    """What the bot has logged since the test began."""
    start = len(bot.output())
    return lambda: bot.output()[start:]


def data_of(fight: UUID | str, action: str) -> str:
    """Written out: what a button of last year holds must stay readable."""
    return fight if isinstance(fight, str) else f"cs|{action}|{short_id(fight)}"


def methods(calls: list[Call]) -> list[str]:
    return [call.method for call in calls]
