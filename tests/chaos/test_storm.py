"""Two minutes of `make storm`, on servers of its own."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mortal import mortal
from tests.support.worker import PROJECT_ROOT

logger = logging.getLogger(__name__)

SEED = 4242


@pytest.mark.timeout(480)
def test_a_short_storm_leaves_nothing_to_find(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    storm = subprocess.run(
        mortal(
            *(sys.executable, "-m", "tests.storm", "--minutes", "2"),
            # Not the load that `make storm` has, but every kind of fault.
            *("--seed", str(SEED), "--rate", "2", "--gap", "5"),
            *("--folder", str(tmp_path / "storm"), "--json", str(figures)),
        ),
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert storm.returncode == 0, storm.stdout + storm.stderr
    told = json.loads(figures.read_text(encoding="utf-8"))
    logger.info("%s", told)
    assert told["findings"] == 0
    assert min(told[what] for what in ("combats", "operations", "look-ups")) > 100
    assert told["faults"] > 10
