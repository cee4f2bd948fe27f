"""The pages that people read: README and docs/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def snippets(page: str) -> list[str]:
    """The Python blocks of a page, in their order."""
    return _PYTHON.findall(text(page))


OWN_TARGETS = ("tests/api/", "tests/browser/")
"""What needs more than `make attack` installs: make test-api, make test-browser."""

_TEST = re.compile(r"tests/[\w/]+\.py(?:::\w+)?")


def attacks() -> dict[str, list[str]]:
    """By threat, as docs/operator/security.md has them: the tests that it names."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text("docs/operator/security.md").splitlines()
        if line.startswith("| ")
    ]
    of_threats = [row for row in rows if len(row) == 3 and row[0] != "threat"]
    return {row[0]: _TEST.findall(row[2]) for row in of_threats if row[0][:1] != "-"}
