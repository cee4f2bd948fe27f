from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.stack import Stack, running_stack, snapshot


@pytest.fixture(scope="session", autouse=True)
def _servers(servers: None) -> None:
    """Before pytest-django makes its database there."""


@pytest.fixture(scope="package")
def running(
    database_roles: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One for all attacks: the next is made on what the last one left.

    Gone before other tests: its beat would sweep up their pending combats.
    """
    with running_stack(tmp_path_factory.mktemp("attack")) as stack:
        yield stack


@pytest.fixture
def stack(world: None, running: Stack) -> Iterator[Stack]:
    """Whatever a test does to it changes nothing and ends no process."""
    running.forget()
    before, processes = snapshot(), running.processes()
    yield running
    assert snapshot() == before
    running.must_be_well()
    assert running.processes() == processes
