"""The plugin of pytest, where a game has it: docs/engine-tests.md, copied and run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from devservers.redis import binary
from tests.packaging.environments import interpreter, outside
from tests.support.docs import snippets


def run(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_game.py").write_text(code, encoding="utf-8")
    path = f"{binary().parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [interpreter("game"), "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**outside(), "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_example_of_the_page_passes_in_a_games_environment(tmp_path: Path) -> None:
    (code,) = snippets("docs/engine-tests.md")

    done = run(tmp_path, code, "-W", "error")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_it_says_what_does_not_add_up(tmp_path: Path) -> None:
    code = """
from persistence.testing.documents import Fight

def test_more_than_there_is(settlement):
    settlement.books.add_character(101, gold=1)
    settlement.dispatcher.submit_combat_sync(Fight().player(101, gold=-2).document())
    settlement.settle_now()
    settlement.assert_conserved()

def test_more_than_was_expected(settlement):
    settlement.books.add_character(101)
    settlement.dispatcher.submit_combat_sync(Fight().player(101, gold=2).document())
    settlement.settle_now()
    settlement.assert_conserved({"gold": 1})

def test_nobody_settled(settlement):
    settlement.dispatcher.submit_combat_sync(Fight().document())
    settlement.assert_conserved()

def test_nobody_there(settlement):
    settlement.dispatcher.submit_combat_sync(Fight().document())
    settlement.settle_now()
    settlement.assert_conserved()
"""

    done = run(tmp_path, code)

    assert "4 failed" in done.stdout, done.stdout + done.stderr
    for words in (
        "short: ['gold_shortage of character 101: gold 1 of 2']",
        "came or left: {'gold': 2}, expected {'gold': 1}",
        "not settled yet",
        "unknown_character",
    ):
        assert words in done.stdout
