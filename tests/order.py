"""Which tests run together, and in which order. A pytest plugin (`-p tests.order`).

pytest-randomly draws the order; it is kept within three stages. First comes what takes
long, so that no process is left alone with it at the end. The shared worker starts
after the last test of a process that works in the process itself: a ring of such a test
must not be answered by a worker with other settings. A browser comes last: from then
on Playwright's event loop belongs to the main thread.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer

GROUPS: Mapping[str, tuple[str, ...]] = {
    "servers that are killed": (
        "tests/chaos/test_engine_calls.py::test_a_result_that_no_replica_has",
        "tests/chaos/test_fault_matrix.py",
        "tests/chaos/test_held_up.py",
        "tests/chaos/test_lost_replies.py",
        "tests/chaos/test_outages.py",
        "tests/chaos/test_poison.py",
    ),
    "a RabbitMQ": ("tests/chaos/test_rabbitmq.py",),
    "every broker": ("tests/integration/test_taking_along.py",),
    "environments of the wheel": ("tests/packaging/",),
    "a bot": ("tests/integration/telegram/",),
    "embedded servers": ("tests/integration/embedded/",),
    "a stack under attack": ("tests/attack/",),
    "a Redis with JSON": ("tests/integration/test_redis_json.py",),
}
"""Tests that share what costs more than they do, the longest group first: under xdist
one process has all of a group."""

LONG = (
    "tests/chaos/test_storm.py",
    "tests/chaos/test_crash_points.py",
    "tests/chaos/test_broken_variants.py",
    "tests/integration/test_demo.py",
    "tests/integration/test_doors_state_machine.py",
    "tests/integration/test_heartbeat.py",
    "tests/integration/test_pause.py",
    "tests/integration/test_payload_table.py::test_any_json_ends",
    "tests/integration/test_reconcile.py::test_the_exit_status",
    "tests/integration/test_save_messages.py::test_sweeps_",
    "tests/integration/test_start_waits.py",
    "tests/integration/test_undo_at_once.py::test_killed_at_any_point",
    "tests/integration/test_undo_demo.py",
)
"""What takes more than ten seconds, alone or as one of many parameters."""


def group_of(nodeid: str) -> str:
    """A group by its name; every other test is one of its own."""
    names = (name for name, paths in GROUPS.items() if nodeid.startswith(paths))
    return next(names, nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """A wrapper: all others have sorted by then."""
    yield
    of_workers = {group_of(item.nodeid) for item in items if _has_worker(item)}
    items.sort(key=lambda item: _stage(item, of_workers))


def _has_worker(item: pytest.Item) -> bool:
    return "worker" in getattr(item, "fixturenames", ())


def _stage(item: pytest.Item, of_workers: Container[str]) -> tuple[int, int]:
    """A group goes where the last of its tests has to go."""
    group = group_of(item.nodeid)
    if item.nodeid.startswith("tests/browser/"):
        return 3, int(_has_worker(item))
    if group in of_workers:
        return 2, 0
    if group in GROUPS:
        return 0, list(GROUPS).index(group)
    return (0, len(GROUPS)) if item.nodeid.startswith(LONG) else (1, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> object:
    from xdist.scheduler import LoadScopeScheduling

    class InOrder(LoadScopeScheduling):  # type: ignore[misc]  # untyped
        """Groups begin in the order of their first tests, where a process is free."""

        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return InOrder(config, log)
