"""`SyncDispatcher.operate`: through the HTTP API, bounded, and safe to repeat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from combat_history.models import Character, Operation
from persistence.contract.changes import Changes
from persistence.contract.errors import (
    OperationConflict,
    OperationRefused,
    OperationUnanswered,
    PayloadInvalid,
)
from persistence.dispatcher import SyncDispatcher
from persistence.engine.api import Api
from tests.support.api import OTHER_TOKEN, TOKEN
from tests.support.docs import snippets
from tests.support.documents import HERO, PELT, POTION
from tests.support.factories import add_character
from tests.support.ports import free_port
from tests.support.proxy import Proxy, proxy_to
from tests.support.web import Web, running_web

pytestmark = pytest.mark.usefixtures("friends")

FRIEND = 102
GIFT = {HERO: {"gold_gained": 5}, FRIEND: {"gold_gained": -5}}


@pytest.fixture(scope="module")
def web(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    with running_web(tmp_path_factory.mktemp("web") / "uvicorn.log") as web:
        yield web


@pytest.fixture
def friends(world: None) -> None:
    add_character(FRIEND, gold=100)


@pytest.fixture
def line(web: Web) -> Iterator[Proxy]:
    """Between engine and API."""
    with proxy_to("127.0.0.1", web.port) as proxy:
        yield proxy


def dispatcher_to(port: int, token: str = TOKEN, timeout: float = 2) -> SyncDispatcher:
    api = Api(f"http://127.0.0.1:{port}", token, timeout)
    return SyncDispatcher(settings.REDIS_URL, settings.BROKER_URL, api=api)


@pytest.fixture
def engine(line: Proxy) -> Iterator[SyncDispatcher]:
    dispatcher = dispatcher_to(line.port)
    yield dispatcher
    dispatcher.close()


def gold() -> dict[int, int]:
    return dict(Character.objects.values_list("pk", "gold"))


def give(engine: SyncDispatcher, op_id: str = "gift-1", **over: Any) -> Any:
    asked = {"reason": "Birthday", **over}
    return engine.operate_sync(op_id, asked.pop("changes", GIFT), **asked)


def test_it_is_applied_when_the_call_returns(engine: SyncDispatcher) -> None:
    sold = Changes.model_validate(
        {
            "items_consumed": [{"inv_id": POTION, "qty": 1}],
            "items_gained": [{"item_template_id": PELT, "qty": 2}],
        }
    )

    async def play() -> Any:
        first = await engine.operate("craft-1", {HERO: sold}, reason="Craft")
        again = await engine.operate("craft-1", {HERO: sold}, reason="Craft")
        return first, again

    first, again = asyncio.run(play())

    assert [move["after"] for move in first.characters[HERO].items] == [4, 2]
    assert (first.duplicate, again.duplicate, again.id) == (False, True, first.id)
    assert give(engine).characters[FRIEND].gold == 95
    assert gold() == {HERO: 5, FRIEND: 95}


def test_what_is_refused_is_told_by_its_type(engine: SyncDispatcher) -> None:
    with pytest.raises(OperationRefused) as refused:
        give(engine, changes={FRIEND: {"gold_gained": -101}})
    assert refused.value.code == "shortage"
    assert refused.value.shortages[0]["there"] == 100
    with pytest.raises(PayloadInvalid, match="gold_gaind"):
        give(engine, changes={FRIEND: {"gold_gaind": 1}})
    give(engine)
    with pytest.raises(OperationConflict, match="gift-1"):
        give(engine, reason="another")
    assert gold() == {HERO: 5, FRIEND: 95}


def test_a_lost_answer_is_asked_for_again(engine: SyncDispatcher, line: Proxy) -> None:
    fault = line.lose_reply(b'"op_id":"gift-1"')

    with pytest.raises(OperationUnanswered, match="call again"):
        give(engine)
    assert fault.struck.is_set()
    assert Operation.objects.filter(pk="gift-1").exists()

    assert give(engine).duplicate
    assert gold() == {HERO: 5, FRIEND: 95}


def test_a_connection_that_was_closed_meanwhile_is_opened_again(
    engine: SyncDispatcher, line: Proxy
) -> None:
    give(engine, "gift-1")
    line.cut()

    assert not give(engine, "gift-2").duplicate


def test_a_frozen_server_holds_nobody_beyond_the_bound(web: Web, line: Proxy) -> None:
    engine = dispatcher_to(line.port, timeout=0.5)
    ticks = 0

    async def play() -> None:
        nonlocal ticks

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.05)
                ticks += 1

        ticking = asyncio.create_task(tick())
        with pytest.raises(OperationUnanswered):
            await engine.operate("gift-1", GIFT, reason="Birthday")
        ticking.cancel()

    line.pause()
    began = time.monotonic()
    asyncio.run(play())
    with pytest.raises(OperationUnanswered):
        give(engine)
    assert time.monotonic() - began < 5
    assert ticks >= 5, "the event loop stood still"
    line.resume()
    give(engine)
    engine.close()
    assert gold() == {HERO: 5, FRIEND: 95}


def test_many_at_once_are_applied_once_each(engine: SyncDispatcher) -> None:
    async def play() -> None:
        await asyncio.gather(
            *(
                engine.operate(f"gift-{number % 10}", GIFT, reason="Birthday")
                for number in range(30)
            )
        )

    asyncio.run(play())

    assert gold() == {HERO: 50, FRIEND: 50}


def test_a_server_that_cannot_be_asked_is_no_answer(web: Web) -> None:
    for engine, detail in (
        (dispatcher_to(free_port()), "Refused"),
        (dispatcher_to(web.port, OTHER_TOKEN), "403 missing_scope"),
        (dispatcher_to(web.port, "no token"), "401 unauthorized"),
    ):
        with pytest.raises(OperationUnanswered, match=detail):
            give(engine)
        engine.close()


def test_without_an_address_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SETTLEMENT_API_URL", raising=False)
    monkeypatch.setenv("REDIS_URL", settings.REDIS_URL)
    engine = SyncDispatcher.from_env()
    with pytest.raises(ValueError, match="SETTLEMENT_API_URL"):
        give(engine)
    engine.close()
    with pytest.raises(ValueError, match="http"):
        Api("ftp://host", TOKEN, 1)


def test_the_snippet_of_the_page_trades(
    engine: SyncDispatcher, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"dispatcher": engine}
    exec(snippets("docs/engine.md")[1], names)

    asyncio.run(names["trade"]("trade-1"))

    assert capsys.readouterr().out == "30\n"
    assert gold() == {HERO: 30, FRIEND: 70}
