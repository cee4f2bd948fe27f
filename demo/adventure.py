"""Does the deeds of all stories, as a game server would, and notes every answer.

One story after the other deed, all stories at once. Before the next deed of a story
what was asked to be saved is saved, but where the broker is said to be away.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import redis.asyncio
from django.conf import settings
from django.db import InterfaceError, OperationalError

from combat_history.reading import redis_clients
from demo import buttons
from demo.deeds import (
    Begin,
    Deed,
    Drink,
    Finish,
    Handle,
    Press,
    Rest,
    Switch,
    Vanish,
    Walk,
)
from persistence.contract import redis_keys
from persistence.contract.errors import (
    CombatInProgress,
    DispatchFailed,
    HandoffFailed,
    ItemReserved,
    OperationInvalid,
)
from persistence.dispatcher import SyncDispatcher
from persistence.engine.answers import CombatStart
from persistence.engine.handoff import Receipt
from persistence.protocols import SyncScope

logger = logging.getLogger(__name__)

_BELL_LOGGER = logging.getLogger("persistence.engine.doorbell")

ABANDONED_SECONDS = 5
"""How long a fight of the demo may be silent until the sweep ends it."""

HEARTBEAT_SECONDS = 0.5
POLL_SECONDS = 0.05
RETRY_SECONDS = 0.5
PENDING_SECONDS = 60
"""For rewards that are on their way; then that is the answer."""

Numbered = tuple[int, Deed]
OnAnswer = Callable[[int, str], None]
"""Called with the number of a deed and the answer that it got."""


class Adventure:
    """Connections and rings of its own, until `aclose`."""

    def __init__(self, on_answer: OnAnswer) -> None:
        self._on_answer = on_answer
        self._redis = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_timeout=5)
        self._dispatcher = SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL)
        # Bound and never listened to: whoever knocks is refused, for certain.
        self._nobody = socket.socket()
        self._nobody.bind(("127.0.0.1", 0))
        port = self._nobody.getsockname()[1]
        self._unheard = SyncDispatcher(
            settings.REDIS_URL, f"redis://127.0.0.1:{port}/0"
        )
        self._expected = _Expected(f"127.0.0.1:{port}")
        _BELL_LOGGER.addFilter(self._expected)
        self._alive: dict[str, asyncio.Task[None]] = {}
        self.done = 0

    async def aclose(self) -> None:
        for heart in self._alive.values():
            heart.cancel()
        await self._dispatcher.aclose()
        await self._unheard.aclose()
        await self._redis.aclose()
        await redis_clients.aclose()
        _BELL_LOGGER.removeFilter(self._expected)
        self._nobody.close()

    async def play(self, stories: Iterable[Iterable[Numbered]]) -> None:
        """Returns once every deed of every story has its answer."""
        async with asyncio.TaskGroup() as group:
            for story in stories:
                group.create_task(self._live(story))

    async def _live(self, story: Iterable[Numbered]) -> None:
        for number, deed in story:
            answer = await _patiently(partial(self._do, deed))
            self._on_answer(number, answer)
            self.done += 1

    async def _do(self, deed: Deed) -> str:
        match deed:
            case Rest():
                return await self._rest(deed)
            case Switch():
                return await self._switch(deed)
            case Walk():
                return await self._walk(deed)
            case Handle():
                return await self._handle(deed)
            case Begin():
                return await self._begin(deed)
            case Drink():
                return await self._drink(deed)
            case Finish():
                return await self._finish(deed)
            case Vanish():
                return await self._vanish(deed)
            case Press():
                return await self._press(deed)

    async def _rest(self, rest: Rest) -> str:
        dispatcher = self._by(rest.is_heard)
        fields = {
            "hp": rest.hp,
            "energy": rest.energy,
            "location": rest.location,
            "state": rest.state,
            "vitals_at": rest.at,
        }
        await self._write(redis_keys.account(rest.character), fields)
        for _ in range(rest.dispatches):
            await dispatcher.dispatch(SyncScope.VITALS, char_id=rest.character)
        if rest.is_heard:
            await self._saved(SyncScope.VITALS, rest.character)
        return "noted"

    async def _switch(self, switch: Switch) -> str:
        try:
            found = await self._by(switch.is_heard).switch_context(
                char_id=switch.character, to=switch.to, session_id=switch.session
            )
        except CombatInProgress as refusal:
            return refusal.code
        if switch.is_heard:
            for mode in found.closed:
                await self._saved(str(mode), switch.character)
        return f"open: {found.session_id}"

    async def _walk(self, walk: Walk) -> str:
        fields = {**walk.progress, "version": walk.version}
        await self._write(redis_keys.scenario(walk.session), fields)
        if walk.is_saved:
            await self._dispatcher.dispatch(SyncScope.SCENARIO, char_id=walk.character)
            await self._saved(SyncScope.SCENARIO, walk.character)
        return "noted"

    async def _handle(self, handle: Handle) -> str:
        dispatcher = self._by(handle.is_heard)
        try:
            for _ in range(handle.times):
                await dispatcher.change_inventory(handle.character, handle.operations)
        except (ItemReserved, OperationInvalid) as refusal:
            return refusal.code
        if handle.is_heard:
            await self._saved(SyncScope.INVENTORY, handle.character)
        return "queued"

    async def _begin(self, begin: Begin) -> str:
        session = begin.session
        if session not in self._alive:
            self._alive[session] = asyncio.create_task(self._beat(session))
        start = partial(
            self._dispatcher.start_combat, session, begin.characters, begin.teams
        )
        started = await start()
        if not started.belts_loaded:
            # The workers are busy; asking again changes nothing and brings the belts.
            await self._saved(redis_keys.BELTS, session)
            started = await start()
        return f"belts {_belts(started)}"

    async def _beat(self, session: str) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            with suppress(DispatchFailed):
                await self._dispatcher.heartbeat(session)

    async def _drink(self, drink: Drink) -> str:
        key = redis_keys.session(UUID(drink.session))
        field = redis_keys.actor_field(drink.character)
        container = json.loads(await self._redis.hget(key, field) or "{}")
        entry = {
            "inventory_id": drink.row,
            "item_template_id": drink.template,
            "qty": drink.qty,
        }
        others = [e for e in container["consumed"] if e["inventory_id"] != drink.row]
        container["consumed"] = [*others, entry]
        await self._write(key, {field: json.dumps(container)})
        return "noted"

    async def _finish(self, finish: Finish) -> str:
        receipt = await self._dispatcher.submit_combat(finish.document)
        self._silence(finish.session)
        # A repeated call meets its own document.
        return str(Receipt.ACCEPTED if receipt is Receipt.DUPLICATE else receipt)

    async def _vanish(self, vanish: Vanish) -> str:
        # The moment of its end is that of the last heartbeat: after all its deeds.
        await asyncio.sleep(vanish.after - time.time())
        is_known = await self._dispatcher.heartbeat(vanish.session)
        self._silence(vanish.session)
        return "heard of before" if is_known else "unknown"

    async def _press(self, press: Press) -> str:
        if press.without_tombstone:
            await self._redis.delete(redis_keys.tombstone(UUID(press.session)))
        deadline = time.monotonic() + PENDING_SECONDS
        while True:
            answer, is_final = await buttons.press(press.session, press.character)
            if is_final or time.monotonic() > deadline:
                return answer
            await asyncio.sleep(POLL_SECONDS)

    def _silence(self, session: str) -> None:
        heart = self._alive.pop(session, None)
        if heart is not None:
            heart.cancel()

    def _by(self, is_heard: bool) -> SyncDispatcher:
        return self._dispatcher if is_heard else self._unheard

    async def _write(self, key: str, fields: Mapping[Any, Any]) -> None:
        written: Awaitable[Any] = self._redis.hset(key, mapping=fields)
        await written

    async def _saved(self, scope: str, subject: int | str) -> None:
        """Until nothing of that is owed any more; the demo's patience is the bound."""
        member = redis_keys.intent(scope, subject)
        while await self._redis.zscore(redis_keys.INTENTS, member) is not None:
            await asyncio.sleep(POLL_SECONDS)


class _Expected(logging.Filter):
    """That nobody answers where nobody is to answer is no news."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def filter(self, record: logging.LogRecord) -> bool:
        return self._address not in record.getMessage()


async def _patiently(do: Callable[[], Awaitable[str]]) -> str:
    """Again until the servers answer: every call may be repeated."""
    while True:
        try:
            return await do()
        except (
            DispatchFailed,
            HandoffFailed,
            redis.RedisError,
            OperationalError,
            InterfaceError,
        ) as error:
            logger.warning("%s", error)
            await asyncio.sleep(RETRY_SECONDS)


def _belts(started: CombatStart) -> list[tuple[int, int, int]]:
    return sorted(
        (char_id, item.inventory_id, item.quantity)
        for char_id, actor in started.actors.items()
        for item in actor.belt_items
    )
