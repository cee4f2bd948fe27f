"""An aiogram 3 router that answers the buttons of fights that are over.

For the bot, which is another program: it needs aiogram, and of this one only the
client beside it, `persistence.contract.ids` and `persistence.contract.events`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from uuid import UUID

from aiogram import Bot, Router
from aiogram.dispatcher.event.bases import SkipHandler
from aiogram.enums import ChatType
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.filters.callback_data import CallbackData
from aiogram.methods import EditMessageCaption, EditMessageText, TelegramMethod
from aiogram.types import (
    CallbackQuery,
    InaccessibleMessage,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
    User,
)
from pydantic import BeforeValidator, PlainSerializer

from persistence.bot.client import Answer, Results, ResultsUnavailable
from persistence.bot.credited import Awaited, Shown
from persistence.contract.events import Event, EventKind
from persistence.contract.ids import parse_session_id, short_id

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

VIEW = "result"
"""Action of the button that opens the whole outcome."""

TELEGRAM_TIMEOUT_SECONDS = 10
PAUSE_SECONDS = 0.5
"""Before the repetition of a call that met a broken server or connection."""
MAX_FLOOD_WAIT_SECONDS = 30
"""A longer one is not waited for: the player can press again."""

REPEAT_SECONDS = 60
"""The same reply to the same message is made once in this time."""

SOON_SECONDS = 5
"""How long a client may keep an answer that is going to change."""

_VIEW_CAPTION = {"en": "View the result", "ru": "Посмотреть итог"}
_CREDITED = {"en": "The reward is credited.", "ru": "Награда начислена."}
_APOLOGY = {
    "en": "The result cannot be looked up right now. Please try again later.",
    "ru": "Сейчас не удаётся узнать итог боя. Попробуйте чуть позже.",
}

# Of the descriptions Telegram sends with a 400; it documents no codes for them.
_UNCHANGED = ("message is not modified",)
_TOO_LATE = ("query is too old", "query id is invalid")
_UNEDITABLE = (
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
    "there is no text in the message to edit",
    "there is no caption in the message to edit",
)


class FightButton(CallbackData, prefix="cs", sep="|"):
    """Callback data of any button of a fight.

    Takes every form of the id and sends the 22-character one: of Telegram's 64 bytes
    `action` may use 38. It may hold colons, but no "|".
    """

    action: str
    session_id: Annotated[
        UUID,
        BeforeValidator(parse_session_id),
        PlainSerializer(short_id, return_type=str),
    ]


CharacterOf = Callable[[User], Awaitable[int | None]]
"""The character that a Telegram user plays, if any."""


def finished_fights(
    results: Results, character_of: CharacterOf, awaited: Awaited | None = None
) -> Router:
    """A router for every FightButton whose fight is no longer going on.

    A press of a fight that is going on, or by a user without a character, is passed
    on to the routers that follow. `awaited` gets the messages whose reward is still
    being credited, for `follow_events` to edit.
    """
    router = Router(name="finished_fights")
    recent = _Recent()

    @router.callback_query(FightButton.filter())
    async def pressed(
        callback: CallbackQuery, callback_data: FightButton, bot: Bot
    ) -> None:
        user = callback.from_user
        char_id = await character_of(user)
        if char_id is None:
            raise SkipHandler
        session_id = callback_data.session_id
        try:
            answer = await results(session_id, char_id, user.language_code)
        except ResultsUnavailable as error:
            logger.warning("no answer about combat %s: %s", session_id, error)
            await _notify(bot, callback, _spoken(_APOLOGY, user.language_code), 0)
            return
        if answer.state == "active":
            raise SkipHandler
        # First: Telegram forgets a query soon, and the player sees it waiting.
        cache_time = REPEAT_SECONDS if answer.is_final else SOON_SECONDS
        await _notify(bot, callback, answer.short, cache_time)
        reply = _Reply(bot, callback.message, callback_data, answer)
        shown = reply.shown(char_id)
        # Before it is there: what comes meanwhile is not missed.
        if awaited is not None and shown is not None:
            awaited.add(shown)
        await reply.deliver(recent)

    return router


async def follow_events(
    bot: Bot, events: AsyncIterable[Event], results: Results, awaited: Awaited
) -> None:
    """Edit each awaited message when its reward is credited; for as long as `events`.

    To be run as a task of its own beside the polling. What is decided about a reward in
    any other way is shown, too.
    """
    async for event in events:
        for shown in awaited.of(event.session_id):
            try:
                is_final = await _retell(bot, event, results, shown)
            except (ResultsUnavailable, TelegramBadRequest) as error:
                logger.warning("outcome of %s stays: %s", shown.session_id, error)
                continue
            if is_final:
                awaited.done(shown)


async def _retell(bot: Bot, event: Event, results: Results, shown: Shown) -> bool:
    """Whether nothing is left to be told."""
    answer = await results(shown.session_id, shown.char_id, shown.language)
    text = answer.short
    if event.kind == EventKind.SETTLED:
        text = f"{_spoken(_CREDITED, answer.language)}\n{text}"
    keyboard = _view_keyboard(shown.session_id, answer.language)
    method: TelegramMethod[Any]
    if shown.has_caption:
        method = EditMessageCaption(
            chat_id=shown.chat_id,
            message_id=shown.message_id,
            caption=text,
            reply_markup=keyboard,
            parse_mode=None,
        )
    else:
        method = EditMessageText(
            chat_id=shown.chat_id,
            message_id=shown.message_id,
            text=text,
            reply_markup=keyboard,
            parse_mode=None,
        )
    try:
        await _call(bot, method)
    except TelegramBadRequest as error:
        if not _says(error, _UNCHANGED + _UNEDITABLE):
            raise
    return answer.is_final


class _Recent:
    """Replies that are on their way or were made not long ago."""

    def __init__(self) -> None:
        self._expiry: dict[tuple[object, ...], float] = {}

    def claim(self, key: tuple[object, ...]) -> bool:
        """Whether the caller is the one to make that reply."""
        now = time.monotonic()
        # Oldest first, as all are kept equally long.
        while self._expiry and next(iter(self._expiry.values())) <= now:
            del self._expiry[next(iter(self._expiry))]
        if key in self._expiry:
            return False
        self._expiry[key] = now + REPEAT_SECONDS
        return True

    def release(self, key: tuple[object, ...]) -> None:
        self._expiry.pop(key, None)


@dataclass(frozen=True, slots=True)
class _Reply:
    """The reply in the chat, which follows the answer to the query."""

    bot: Bot
    message: Message | InaccessibleMessage | None
    button: FightButton
    answer: Answer

    def shown(self, char_id: int) -> Shown | None:
        """The message that this makes an outcome which is going to change."""
        message = self.message
        if (
            not isinstance(message, Message)
            or message.chat.type != ChatType.PRIVATE
            or self.button.action == VIEW
            or self.answer.state != "finished"
            or self.answer.is_final
        ):
            return None
        return Shown(
            self.button.session_id,
            char_id,
            message.chat.id,
            message.message_id,
            self.answer.language,
            has_caption=message.text is None,
        )

    async def deliver(self, recent: _Recent) -> None:
        """Do it, unless it was done a moment ago or is being done."""
        if self.message is None:  # sent in inline mode: there is no chat of ours
            return
        place = (self.message.chat.id, self.message.message_id)
        key = (*place, self.button.action == VIEW, self.answer.long)
        if not recent.claim(key):
            return
        is_done = False
        try:
            is_done = await self._make(self.message)
        finally:
            if not is_done:
                recent.release(key)

    async def _make(self, message: Message | InaccessibleMessage) -> bool:
        is_private = message.chat.type == ChatType.PRIVATE
        if self.answer.state == "unknown":
            # In a group anybody may press: their fights are not his to end.
            return not is_private or await self._remove_buttons(message)
        if self.button.action == VIEW:
            # What a player got is nobody else's business.
            return not is_private or await self._send(message, self.answer.long, None)
        if isinstance(message, InaccessibleMessage):
            return not is_private or await self._send_anew(message)
        return await self._edit(message, is_private)

    async def _edit(self, message: Message, is_private: bool) -> bool:
        keyboard, text = self._keyboard(), self.answer.short
        method: TelegramMethod[Any]
        if not is_private:
            method = message.edit_reply_markup(reply_markup=keyboard)
        elif message.text is None:
            method = message.edit_caption(
                caption=text, reply_markup=keyboard, parse_mode=None
            )
        else:
            method = message.edit_text(text, reply_markup=keyboard, parse_mode=None)
        try:
            return await _call(self.bot, method)
        except TelegramBadRequest as error:
            if _says(error, _UNCHANGED):
                return True
            if not _says(error, _UNEDITABLE):
                raise
        return not is_private or await self._send_anew(message)

    async def _remove_buttons(self, message: Message | InaccessibleMessage) -> bool:
        if isinstance(message, InaccessibleMessage):
            return True
        try:
            return await _call(self.bot, message.edit_reply_markup(reply_markup=None))
        except TelegramBadRequest as error:
            if not _says(error, _UNCHANGED + _UNEDITABLE):
                raise
            return True

    async def _send_anew(self, message: Message | InaccessibleMessage) -> bool:
        return await self._send(message, self.answer.short, self._keyboard())

    async def _send(
        self,
        message: Message | InaccessibleMessage,
        text: str,
        keyboard: InlineKeyboardMarkup | None,
    ) -> bool:
        # The bot's own parse mode would read a "<" in a name as markup.
        method = message.answer(text, reply_markup=keyboard, parse_mode=None)
        return await _call(self.bot, method)

    def _keyboard(self) -> InlineKeyboardMarkup:
        return _view_keyboard(self.button.session_id, self.answer.language)


def _view_keyboard(session_id: UUID, language: str) -> InlineKeyboardMarkup:
    view = FightButton(action=VIEW, session_id=session_id)
    button = InlineKeyboardButton(
        text=_spoken(_VIEW_CAPTION, language), callback_data=view.pack()
    )
    return InlineKeyboardMarkup(inline_keyboard=[[button]])


async def _notify(bot: Bot, callback: CallbackQuery, text: str, cache: int) -> None:
    """Answer the query; one that is too old is nobody's loss."""
    message = callback.message
    is_private = message is not None and message.chat.type == ChatType.PRIVATE
    # Where no message follows, the text has to stay until it is read.
    method = callback.answer(text, show_alert=not is_private, cache_time=cache)
    try:
        await _call(bot, method)
    except TelegramBadRequest as error:
        if not _says(error, _TOO_LATE):
            raise


async def _call(bot: Bot, method: TelegramMethod[_Result]) -> bool:
    """Whether Telegram did it; where not, the log says why.

    One repetition after a flood wait, a lost connection or an error of the server's.
    TelegramBadRequest is the caller's.
    """
    for is_last in (False, True):
        try:
            await bot(method, request_timeout=TELEGRAM_TIMEOUT_SECONDS)
        except TelegramForbiddenError as error:
            logger.info("the player does not let the bot write: %s", error)
            return False
        except TelegramRetryAfter as error:
            if is_last or error.retry_after > MAX_FLOOD_WAIT_SECONDS:
                logger.warning("given up: %s", error)
                return False
            await asyncio.sleep(error.retry_after)
        # A gateway's error page is no JSON, hence ClientDecodeError.
        except (TelegramNetworkError, TelegramServerError, ClientDecodeError) as error:
            if is_last:
                logger.warning("given up: %s", error)
                return False
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return True
    return False


def _spoken(texts: dict[str, str], language: str | None) -> str:
    return texts.get((language or "").split("-")[0].lower(), texts["en"])


def _says(error: TelegramBadRequest, descriptions: tuple[str, ...]) -> bool:
    told = error.message.lower()
    return any(description in told for description in descriptions)
