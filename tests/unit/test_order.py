"""How the suite is shared out: `python -m tests` and `tests/order.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.__main__ import command
from tests.order import GROUPS, LONG, group_of

ROOT = Path(__file__).resolve().parents[2]
NAMED = [*LONG, *(start for starts in GROUPS.values() for start in starts)]


@pytest.mark.parametrize("start", NAMED)
def test_what_is_named_exists(start: str) -> None:
    path, _, name = start.partition("::")
    assert (ROOT / path).exists()
    if name:
        assert f"\ndef {name}" in (ROOT / path).read_text(encoding="utf-8")


def test_a_group_is_of_one_process_and_every_other_test_of_any() -> None:
    cell = "tests/chaos/test_fault_matrix.py::test_cell[P5-process_kill]"
    outage = "tests/chaos/test_outages.py::test_redis_may_be_killed"
    assert group_of(cell) == group_of(outage)
    assert group_of("tests/unit/test_ids.py::test_a") != group_of(
        "tests/unit/test_ids.py::test_b"
    )


def test_the_whole_suite_is_shared_out_and_what_is_named_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert "-n" in command([])
    assert "-n" in command(["-x", "-k", "ids"])
    assert "--ignore=tests/browser" in command([])

    assert command(["tests/unit/test_ids.py"])[3:] == ["tests/unit/test_ids.py"]
    assert "-n" not in command(["-q", "tests/unit/test_ids.py::test_a"])


def test_given_servers_are_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/world")
    monkeypatch.setenv("REDIS_URL", "redis://redis.example/0")
    assert "-n" not in command([])


def test_nothing_that_settles_by_itself_comes_after_the_shared_worker(
    request: pytest.FixtureRequest,
) -> None:
    """Of all the tests that this process has collected, in the order they run in."""
    items = request.session.items
    rest = [i for i in items if not i.nodeid.startswith("tests/browser/")]
    late = {
        group_of(i.nodeid) for i in rest if "worker" in getattr(i, "fixturenames", ())
    }
    is_late = [group_of(item.nodeid) in late for item in rest]
    assert is_late == sorted(is_late)
