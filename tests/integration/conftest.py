from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from pytest_django import Settings

from combat_history.api import fights, handoff, tokens
from combat_history.reading.lookup import find_result
from persistence.belts.tasks import assemble_belts
from persistence.contract.document import Document
from persistence.dispatcher import SyncDispatcher
from tests.conftest import Settle
from tests.support.api import BOT, ENGINE
from tests.support.documents import HERO, sample_document
from tests.support.ids import new_session_id
from tests.support.lookups import Find, find_in_a_loop, id_of
from tests.support.ports import free_port
from tests.support.proxy import Proxy, proxy_to, through
from tests.support.redis_users import url_as


@pytest.fixture(scope="session", autouse=True)
def _servers(servers: None) -> None:
    """Every test here may ask for them, by whatever way."""


@pytest.fixture
def api(settings: Settings, tmp_path: Path, database_roles: None) -> Iterator[None]:
    """Known tokens, the web server's role, and at the end no thread that rings."""
    settings.MIDDLEWARE = ["tests.support.roles.as_web", *settings.MIDDLEWARE]
    settings.SETTLEMENT_API_TOKENS = [BOT, ENGINE]
    tokens.known = tokens.KnownTokens()
    # WhiteNoise warns about a folder that only `collectstatic` makes.
    settings.STATIC_ROOT = tmp_path
    yield
    tokens.known.close()
    if fights.dispatcher.cache_info().currsize:
        fights.dispatcher().close()
        fights.dispatcher.cache_clear()
    if handoff.doorbell.cache_info().currsize:
        handoff.doorbell().close(5)
        handoff.doorbell.cache_clear()


@pytest.fixture
def redis_proxy(settings: Settings) -> Iterator[Proxy]:
    """For the look-up and the API alone; everybody else goes straight to Redis."""
    parts = urlsplit(settings.REDIS_URL)
    with proxy_to(parts.hostname or "127.0.0.1", parts.port or 6379) as proxy:
        settings.REDIS_URL = through(settings.REDIS_URL, proxy.port)
        yield proxy


@pytest.fixture(params=["sync", "async"])
def find(request: pytest.FixtureRequest) -> Find:
    """`find_result`, then its twin: both have to pass every test."""
    return find_result if request.param == "sync" else find_in_a_loop


@pytest.fixture
def document() -> Document:
    """The seed's sample, which nobody has handed over."""
    return sample_document()


@pytest.fixture
def settled(settle_here: Settle, document: Document) -> UUID:
    """The id of the sample, settled."""
    settle_here(document)
    return id_of(document)


@pytest.fixture
def fight() -> UUID:
    """The id of a fight that nobody has heard of."""
    return new_session_id()


@pytest.fixture
def begun(world: None, engine: SyncDispatcher, fight: UUID) -> UUID:
    """A fight of the hero, blue, whose belt is loaded: five potions."""
    engine.start_combat_sync(fight, [HERO], {HERO: "blue"})
    assemble_belts(str(fight))
    return fight


@pytest.fixture
def engine(users: None) -> Iterator[SyncDispatcher]:
    """With a short bound: in many a test there is no worker to wait for."""
    own, broker = (
        url_as("engine", url) for url in (settings.REDIS_URL, settings.BROKER_URL)
    )
    dispatcher = SyncDispatcher(own, broker, timeout=1)
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def unheard() -> Iterator[SyncDispatcher]:
    """An engine whose broker is closed: its rings are lost, its intents are not."""
    broker = f"redis://127.0.0.1:{free_port()}/0"
    dispatcher = SyncDispatcher(settings.REDIS_URL, broker)
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def admin(world: None) -> User:
    """Who may replay, correct and void."""
    user = User.objects.create_user("anna", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            codename__in=["replay_combat", "correct_combat", "void_combat"]
        )
    )
    return User.objects.get(pk=user.pk)


@pytest.fixture
def stranger(world: None) -> User:
    """Who may come in, and nothing else."""
    return User.objects.create_user("mallory", is_staff=True)
