"""A stand-in for the game: one wolf, one blow. Yours is in its place."""

from __future__ import annotations

import time
from uuid import UUID, uuid4

import aiohttp
from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.types import (
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
    User,
)

from persistence.bot.router import VIEW, FightButton

HANDOFF_TIMEOUT = aiohttp.ClientTimeout(total=10)


class Game:
    """Who plays whom, and the fights that are going on."""

    def __init__(self, characters: dict[int, int], api_url: str, token: str) -> None:
        self._characters = characters
        self._fights: dict[UUID, int] = {}
        self._api_url = api_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def character_of(self, user: User) -> int | None:
        return self._characters.get(user.id)

    def start(self, char_id: int) -> UUID:
        session_id = uuid4()
        self._fights[session_id] = char_id
        return session_id

    async def is_going_on(
        self, callback: CallbackQuery, callback_data: FightButton
    ) -> bool:
        """A filter: whether this very fight is the presser's, and not over."""
        char_id = await self.character_of(callback.from_user)
        fighting = self._fights.get(callback_data.session_id)
        return fighting is not None and fighting == char_id

    async def win(self, session_id: UUID) -> None:
        """The fight is over; its result goes to the settlement."""
        document = _victory(session_id, self._fights.pop(session_id))
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.post(
                f"{self._api_url}/api/combats", json=document, timeout=HANDOFF_TIMEOUT
            ) as response,
        ):
            response.raise_for_status()


def fights(game: Game) -> Router:
    """The handlers of fights that are going on."""
    router = Router(name="fights")

    @router.message(Command("fight"), F.from_user)
    async def fight(message: Message) -> None:
        assert message.from_user is not None  # the filter asked for one
        char_id = await game.character_of(message.from_user)
        if char_id is None:
            await message.answer("У вас нет персонажа.")
            return
        keyboard = attack_keyboard(game.start(char_id))
        await message.answer("Перед вами волк.", reply_markup=keyboard)

    @router.callback_query(FightButton.filter(F.action != VIEW), game.is_going_on)
    async def strike(
        callback: CallbackQuery, callback_data: FightButton, bot: Bot
    ) -> None:
        await callback.answer("Волк повержен!")
        await game.win(callback_data.session_id)

    return router


def attack_keyboard(session_id: UUID) -> InlineKeyboardMarkup:
    captions = {"attack": "Атака", "flee": "Бежать"}
    buttons = [
        InlineKeyboardButton(
            text=caption,
            callback_data=FightButton(action=action, session_id=session_id).pack(),
        )
        for action, caption in captions.items()
    ]
    return InlineKeyboardMarkup(inline_keyboard=[buttons])


def _victory(session_id: UUID, char_id: int) -> dict[str, object]:
    hero = {
        "is_winner": True,
        "state_snapshot": {"hp": 450, "energy": 20},
        "changes": {"xp_gained": 10, "gold_gained": 5},
        "ui_report": {},
    }
    return {
        "session_id": str(session_id),
        "meta": {
            "end_timestamp": int(time.time()),
            "winner_team": "blue",
            "finish_reason": "victory",
        },
        "participants": {str(char_id): hero},
    }
