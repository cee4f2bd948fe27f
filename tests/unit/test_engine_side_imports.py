"""The engine is another program: its side imports without Django installed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.unit.builders import ROOT

PURE = [
    "persistence",
    "persistence.contract.payload",
    "persistence.contract.ids",
    "persistence.contract.errors",
    "persistence.contract.redis_keys",
    "persistence.engine.handoff",
    "persistence.engine.scripts",
    "persistence.contract.outcome",
    "persistence.contract.fight_log",
]
BLOCK = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import {module}
"""


def import_without(module: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK.format(module=module, blocked=set(blocked))],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", [", ".join(PURE)])
def test_the_contract_imports_with_neither_django_nor_celery_nor_a_database_driver(
    module: str,
) -> None:
    done = import_without(module, "django", "celery", "kombu", "psycopg", "redis")

    assert (done.returncode, done.stderr) == (0, "")


def test_the_dispatcher_imports_without_django() -> None:
    done = import_without("persistence.dispatcher", "django", "psycopg")

    assert (done.returncode, done.stderr) == (0, "")


def test_what_comes_for_the_engines_tests_imports_without_django() -> None:
    done = import_without("persistence.testing.settlement", "django", "psycopg")

    assert (done.returncode, done.stderr) == (0, "")


def test_the_plugin_brings_nothing_into_a_run_that_does_not_use_it() -> None:
    unused = ("pydantic", "redis", "celery", "django", "psycopg")
    done = import_without("persistence.testing.plugin", *unused)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_dispatcher_makes_itself_without_django() -> None:
    make = (
        "persistence.dispatcher; persistence.dispatcher.SyncDispatcher("
        "'redis://127.0.0.1:1/0').close()"
    )

    done = import_without(make, "django", "psycopg")

    assert (done.returncode, done.stderr) == (0, "")


def test_the_block_is_real() -> None:
    assert "No module named 'django'" in import_without("django", "django").stderr
    assert "No module named" in import_without("persistence.tasks", "django").stderr
