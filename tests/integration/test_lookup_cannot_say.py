"""Unknown is said only where both were asked: else the buttons are gone for nothing."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis
from django.db import connection
from pytest_django import Settings

from combat_history.api import openapi
from combat_history.reading.lookup import CANNOT_SAY, UNKNOWN, Credit, State
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import checked
from persistence.protocols import Delivery
from persistence.savers.registry import open_combat_saver
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.api import NOBODY_LISTENS, get, problem, result_path
from tests.support.documents import HERO
from tests.support.lookups import Find, finished, hand_off, id_of, start
from tests.support.proxy import proxy_to, through
from tests.support.redis_server import running_redis

STRANGER = 102

pytestmark = pytest.mark.usefixtures("world")


def address_of(settings: Settings) -> tuple[str, int]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        known = client.connection_pool.connection_kwargs
    return known["host"], known["port"]


@contextmanager
def refused(settings: Settings, folder: Path) -> Iterator[str]:
    yield NOBODY_LISTENS


@contextmanager
def frozen(settings: Settings, folder: Path) -> Iterator[str]:
    with proxy_to(*address_of(settings)) as proxy:
        proxy.pause()
        yield through(settings.REDIS_URL, proxy.port)
        proxy.resume()


@contextmanager
def loading(settings: Settings, folder: Path) -> Iterator[str]:
    """Answers as a server does that reads its file: the whole protocol it needs."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(1 << 16):
                self.request.sendall(b"-LOADING Redis is loading the dataset\r\n" * 8)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()


@contextmanager
def behind(settings: Settings, folder: Path) -> Iterator[str]:
    """A replica that has lost its primary, and may not have heard the last."""
    with running_redis(folder) as url, redis.Redis.from_url(url) as client:
        client.replicaof("127.0.0.1", 1)
        yield url


Away = Callable[[Settings, Path], AbstractContextManager[str]]


@pytest.fixture(params=[refused, frozen, loading, behind])
def redis_away(
    request: pytest.FixtureRequest, settings: Settings, tmp_path: Path
) -> Iterator[Callable[[], None]]:
    """Makes it so; until then Redis answers."""
    away: Away = request.param
    inbox.client()
    with away(settings, tmp_path) as url:
        yield lambda: setattr(settings, "REDIS_URL", url)


def test_what_postgresql_does_not_know_is_not_unknown_while_redis_is_away(
    find: Find, redis_away: Callable[[], None]
) -> None:
    redis_away()

    assert find(uuid4(), HERO) == CANNOT_SAY


def test_what_postgresql_knows_is_told_while_redis_is_away(
    find: Find, settle_here: Settle, document: Document, redis_away: Callable[[], None]
) -> None:
    settle_here(document)
    redis_away()

    assert find(id_of(document), HERO) == finished(Credit.CREDITED)
    assert find(id_of(document), STRANGER) == UNKNOWN


def test_a_receipt_of_postgresql_is_told_while_redis_is_away(
    find: Find, document: Document, redis_away: Callable[[], None]
) -> None:
    handoff = checked(document)
    with open_combat_saver() as saver:
        saver.receive(Delivery(handoff.session_id, handoff.raw, handoff.sha256))
    redis_away()

    assert find(handoff.session_id, HERO) == finished(Credit.PENDING)
    assert find(handoff.session_id, STRANGER) == UNKNOWN


@contextmanager
def postgresql_away() -> Iterator[None]:
    known = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nonexistent"
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["HOST"] = known


def test_what_redis_does_not_know_is_not_unknown_while_postgresql_is_away(
    find: Find,
) -> None:
    with postgresql_away():
        assert find(uuid4(), HERO) == CANNOT_SAY


def test_with_neither_nothing_can_be_said(find: Find, settings: Settings) -> None:
    settings.REDIS_URL = NOBODY_LISTENS
    with postgresql_away():
        assert find(uuid4(), HERO) == CANNOT_SAY


def test_running_and_accepted_fights_are_never_unknown_while_redis_is_away(
    find: Find, redis_client: redis.Redis, document: Document, settings: Settings
) -> None:
    """Redis alone knows of them."""
    known = settings.REDIS_URL
    inbox.client()
    start(redis_client, document)
    settings.REDIS_URL = NOBODY_LISTENS
    assert find(id_of(document), HERO) == CANNOT_SAY

    hand_off(document)
    settings.REDIS_URL = NOBODY_LISTENS
    assert find(id_of(document), HERO) == CANNOT_SAY

    settings.REDIS_URL = known
    settle_inbox()
    assert find(id_of(document), HERO) == finished(Credit.CREDITED)


def test_nothing_is_remembered_of_what_could_not_be_asked(
    find: Find, redis_client: redis.Redis, document: Document
) -> None:
    with postgresql_away():
        assert find(id_of(document), HERO) == CANNOT_SAY
    assert redis_client.dbsize() == 0
    hand_off(document)
    settle_inbox()
    assert find(id_of(document), HERO) == finished(Credit.CREDITED)


def test_a_fight_that_postgresql_has_forgotten_is_not_unknown(
    find: Find, settle_here: Settle, redis_client: redis.Redis, document: Document
) -> None:
    """Restored from before it: what Redis keeps for a day says that it was accepted."""
    settle_here(document)
    redis_client.delete(redis_keys.tombstone(id_of(document)))
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE combat_history CASCADE")

    assert find(id_of(document), STRANGER) == CANNOT_SAY


@pytest.fixture
def asked(api: None) -> UUID:
    return uuid4()


@pytest.mark.parametrize("language", ["ru", "en"])
def test_over_http_it_is_unavailable_and_to_be_asked_again(
    asked: UUID, settings: Settings, language: str
) -> None:
    settings.REDIS_URL = NOBODY_LISTENS

    response = get(result_path(asked, language=language))

    told = problem(response, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")
    assert int(response["Retry-After"]) > 0
    assert told.text is not None
    assert (
        told.text.short
        == {
            "ru": "Сейчас не удаётся узнать итог боя. Попробуйте чуть позже.",
            "en": "The result cannot be looked up right now. Please try again later.",
        }[language]
    )


def test_the_description_tells_when_a_look_up_is_unavailable() -> None:
    paths = openapi.document()["paths"]
    unavailable = paths["/api/combats/{session_id}/result"]["get"]["responses"]["503"]

    assert "Redis" in unavailable["description"]
    assert "Retry-After" in unavailable["headers"]
    states = openapi.document()["components"]["schemas"]["CombatResult"]["properties"]
    assert states["state"]["enum"] == [State.ACTIVE, State.FINISHED]
