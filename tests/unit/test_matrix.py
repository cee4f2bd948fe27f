"""The fault matrix names tests that exist, and leaves no cell out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.chaos import matrix

ROOT = Path(__file__).resolve().parents[2]


def test_every_cell_is_played_or_said_to_be_impossible() -> None:
    cells = {f"{point}-{fault}" for point in matrix.POINTS for fault in matrix.FAULTS}
    assert len(cells) == 17 * 6
    assert set(matrix.PLAYED) | set(matrix.IMPOSSIBLE) == cells
    assert not set(matrix.PLAYED) & set(matrix.IMPOSSIBLE)
    assert all(len(why.split()) > 5 for why in matrix.IMPOSSIBLE.values())


def test_every_acceptance_test_is_numbered_once() -> None:
    numbers = [int(name.split()[0].removeprefix("AT")) for name in matrix.ACCEPTANCE]
    assert numbers == list(range(1, 26))


@pytest.mark.parametrize(
    "node", sorted({node for nodes in matrix.ACCEPTANCE.values() for node in nodes})
)
def test_a_named_test_exists(node: str) -> None:
    path, name = node.split("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
