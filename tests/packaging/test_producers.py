"""A producer with none of our code, by the lines that docs/install.md gives."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from combat_history.models import CombatHistory
from tests.packaging.environments import ROOT, make, outside
from tests.support.documents import make_document
from tests.support.waiting import wait_until
from tests.support.worker import environment

LINES = dict(
    re.findall(
        r"^\| (5\.\d) \| `pip install (.*?)`",
        (ROOT / "docs" / "install.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
GAME_REDIS = "redis~=5.0.1"

SEND = """
import celery, os, sys
assert celery.__version__.startswith(sys.argv[1] + "."), celery.__version__
app = celery.Celery(broker=os.environ["CELERY_BROKER_URL"])
app.send_task("settle_combat", args=[sys.argv[2]])
"""


def test_every_supported_celery_has_a_line() -> None:
    assert list(LINES) == ["5.3", "5.4", "5.5", "5.6", "5.7"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All with `--whole`; else the oldest beside redis-py 5.0, and the newest."""
    if "beside" not in metafunc.fixturenames:
        return
    pairs = [("5.3", GAME_REDIS), ("5.7", "")]
    if metafunc.config.getoption("--whole", default=False):
        alone = [(version, "") for version in LINES]
        # kombu 5.7 needs redis-py 6.4.
        beside = [(v, GAME_REDIS) for v in LINES if v != "5.7"]
        pairs = [*alone, *beside]
    metafunc.parametrize(("version", "beside"), pairs)


@pytest.mark.usefixtures("world", "worker")
def test_a_bare_producer(version: str, beside: str, tmp_path: Path) -> None:
    python = make(tmp_path / "venv", *shlex.split(f"{LINES[version]} {beside}"))

    subprocess.run(
        [python, "-I", "-c", SEND, version, json.dumps(make_document())],
        cwd=tmp_path,
        env=outside() | environment(),
        timeout=60,
        check=True,
    )

    wait_until(is_settled, "the fight is settled")


def is_settled() -> bool:
    return CombatHistory.objects.filter(settlement_status="processed").exists()
