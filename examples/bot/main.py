"""A bot whose old fight buttons tell the truth.

From the repository's root, after `pip install '.[bot]'`:

    BOT_TOKEN=… SETTLEMENT_API_URL=http://127.0.0.1:8000 SETTLEMENT_API_TOKEN=… \
    GAME_API_TOKEN=… CHARACTERS='{"your Telegram id": 101}' python -m examples.bot.main

The bot reads (scopes results:read and events:read), the game hands over
(combats:submit): two tokens.
BOT_API_URL names a Bot API server of your own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os

from aiogram import Bot, Dispatcher, Router
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import PRODUCTION, TelegramAPIServer
from aiogram.enums import ParseMode
from aiogram.types import CallbackQuery

from examples.bot.game import Game, fights
from persistence.bot.client import HttpEvents, HttpResults
from persistence.bot.credited import Awaited
from persistence.bot.router import finished_fights, follow_events


async def main() -> None:
    api_url = os.environ["SETTLEMENT_API_URL"]
    token = os.environ["SETTLEMENT_API_TOKEN"]
    characters = json.loads(os.environ.get("CHARACTERS", "{}"))
    game = Game(
        {int(user): int(id_) for user, id_ in characters.items()},
        api_url,
        os.environ["GAME_API_TOKEN"],
    )
    results, events = HttpResults(api_url, token), HttpEvents(api_url, token)
    awaited = Awaited()
    dispatcher = Dispatcher()
    # In this order: a running fight costs no question, a finished one is told about,
    # and no press is left waiting.
    dispatcher.include_routers(
        fights(game), finished_fights(results, game.character_of, awaited), leftovers()
    )
    bot = telegram()
    following = asyncio.create_task(follow_events(bot, events, results, awaited))
    await dispatcher.start_polling(
        bot, allowed_updates=dispatcher.resolve_used_update_types()
    )
    following.cancel()
    await results.aclose()
    await events.aclose()


def leftovers() -> Router:
    """Presses that nobody knows what to do with."""
    router = Router(name="leftovers")

    @router.callback_query()
    async def unclaimed(callback: CallbackQuery) -> None:
        await callback.answer("Эта кнопка здесь не работает.")

    return router


def telegram() -> Bot:
    server = os.environ.get("BOT_API_URL")
    api = TelegramAPIServer.from_base(server) if server else PRODUCTION
    return Bot(
        os.environ["BOT_TOKEN"],
        session=AiohttpSession(api=api),
        default=DefaultBotProperties(parse_mode=ParseMode.HTML),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
