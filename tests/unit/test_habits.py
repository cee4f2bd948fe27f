"""What a contributor's machine and the hosted CI run is what the Makefile says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def hooks() -> list[str]:
    (local,) = read(".pre-commit-config.yaml")["repos"]
    return [hook["entry"] for hook in local["hooks"]]


@pytest.mark.parametrize("entry", hooks())
def test_a_hook_is_a_line_of_make_lint(entry: str) -> None:
    (lint,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)

    assert f"\t{entry.replace('.venv/bin', '$(BIN)')}" in lint


def test_the_hosted_ci_runs_what_must_hold_here() -> None:
    jobs = read(".github/workflows/ci.yml")["jobs"]

    assert {"run": ".ci/run"} in jobs["all"]["steps"]
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    promised = re.findall(r"Python :: (3\.\d+)", pyproject)
    assert promised == ["3.11", *jobs["other-pythons"]["strategy"]["matrix"]["python"]]


def test_every_target_of_the_ci_exists() -> None:
    called = re.findall(r"^make (.+)", (ROOT / ".ci/run").read_text(), re.M)
    targets = re.findall(r"(?:^| )([a-z][a-z-]*)(?= |$)", "\n".join(called), re.M)

    assert {"lint", "test", "test-browser"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_updates_are_proposed_for_every_lock() -> None:
    (pattern,) = json.loads((ROOT / "renovate.json").read_text())["pip-compile"][
        "managerFilePatterns"
    ]

    locks = [path.name for path in ROOT.glob("*.lock")]
    assert locks
    for name in locks:
        assert re.search(pattern.strip("/"), name)
        header = (ROOT / name).read_text(encoding="utf-8").splitlines()[1]
        assert header.startswith("#    uv pip compile ")
        assert f"--output-file={name}" in header
