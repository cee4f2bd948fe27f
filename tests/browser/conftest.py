"""One Chromium and one web server for all tests here; a fresh profile for each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection

from tests.browser.pictures import Album
from tests.browser.visitor import Visitor
from tests.support.web import Web, running_web

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium")

MISSING = [
    what
    for what, is_there in (
        ("playwright (requirements-dev.txt)", find_spec("playwright")),
        ("Debian's chromium", CHROMIUM),
    )
    if not is_there
]

collect_ignore_glob = ["test_*.py"] if MISSING else []

FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    # Whatever a page or the browser itself asks for elsewhere does not resolve.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

FAILED = pytest.StashKey[bool]()

Visit = Callable[..., Visitor]


END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND usename = current_user
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pictures",
        type=Path,
        help="folder for pictures of the main pages, as docs/screenshots has them",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        needed = " and ".join(MISSING)
        terminalreporter.write_line(f"tests/browser was left out: no {needed}.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session", autouse=True)
def _servers(servers: None) -> None:
    """Every test here may ask for them, by whatever way."""


@pytest.fixture(scope="session")
def site(
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Web]:
    with running_web(
        tmp_path_factory.mktemp("site") / "uvicorn.log",
        # An open browser must not hold up the end.
        *("--timeout-graceful-shutdown", "1"),
        # Static files straight from the tree, cookies without TLS.
        DEBUG="true",
        DJANGO_SETTINGS_MODULE="tests.browser.site_settings",
    ) as web:
        yield web
    # A session left open would keep the database from being dropped.
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(END_OTHERS)


@pytest.fixture(scope="session")
def browser(site: Web) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    is_root = os.geteuid() == 0
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread, where Django would refuse to
        # ask the database. The loop runs only while a call of Playwright's waits.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=not is_root
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visit(
    browser: Browser, site: Web, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Visit]:
    """Opens the site for somebody; at the end nothing unseemly may have happened.

    Of a failed test the pages stay in its folder, as pictures and as source.
    """
    visitors: list[Visitor] = []
    with ExitStack() as contexts:

        def open_for(
            user: User | None = None,
            *,
            locale: str = "en",
            color_scheme: Literal["light", "dark"] = "light",
        ) -> Visitor:
            context = contexts.enter_context(
                browser.new_context(
                    base_url=site.address,
                    locale=locale,
                    color_scheme=color_scheme,
                    viewport={"width": 1280, "height": 800},
                )
            )
            visitors.append(Visitor(context, site.address, user))
            return visitors[-1]

        yield open_for
        troubles = [trouble for visitor in visitors for trouble in visitor.troubles]
        if troubles or request.node.stash.get(FAILED, False):
            for number, visitor in enumerate(visitors):
                visitor.keep(tmp_path, number)
    assert troubles == []


@pytest.fixture
def member(world: None) -> Callable[[str], User]:
    """Makes somebody of one of the groups that `create_groups` makes."""
    call_command("create_groups", verbosity=0)

    def make(group: str) -> User:
        name = group.replace(" ", "-").lower()
        user = User.objects.create_user(name, password=name, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        return user

    return make


@pytest.fixture
def game_admin(member: Callable[[str], User]) -> User:
    return member("Game admin")


@pytest.fixture
def album(request: pytest.FixtureRequest) -> Album:
    return Album(request.config.getoption("--pictures", None))
