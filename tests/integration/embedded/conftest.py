from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.embedded_pair import (
    Pair,
    pair_over,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """For the tests that only look: one pair, started by the first of them."""
    with pair_over(tmp_path_factory.mktemp("shared") / "data") as made:
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Pair]:
    """No data yet: the first user makes the cluster."""
    with pair_over(tmp_path / "data") as made:
        yield made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data at rest; copying it is quicker than making it for every test."""
    data_dir = tmp_path_factory.mktemp("template") / "data"
    with pair_over(data_dir) as made:
        made.attach()
    return data_dir / "postgres"


@pytest.fixture
def pair(tmp_path: Path, cluster: Path) -> Iterator[Pair]:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    subprocess.run(["cp", "-a", cluster, data_dir], check=True)
    with pair_over(data_dir) as made:
        yield made
