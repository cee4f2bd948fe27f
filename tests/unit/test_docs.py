"""What the pages say of the repository is so: links, paths, commands, references."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from django.core.management import get_commands

from docs.generate.pages import MODULES, pages
from docs.generate.settings import SECTIONS, variables
from tests.support.docs import PAGES, ROOT, snippets, text

FOLDERS = {
    *("persistence", "combat_history", "settlement_project", "demo", "devservers"),
    *("tests", "examples", "benchmarks", "ops", "docs"),
}

a_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


@pytest.mark.parametrize("name", MODULES)
def test_reference_says_what_the_code_says(name: str) -> None:
    written = text(f"docs/reference/{name}")

    assert written == pages()[name], "write it anew: python -m docs.generate"


@pytest.mark.parametrize("folders", SECTIONS.values(), ids=str)
def test_every_setting_has_a_meaning(folders: tuple[str, ...]) -> None:
    found = variables(*folders)

    assert found
    assert [one.name for one in found if not one.meaning] == []


@a_page
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [unquote(t.partition("#")[0]) for t in targets if "://" not in t]

    missing = [t for t in local if t and not (page.parent / t).exists()]

    assert missing == []


@a_page
def test_paths_exist(page: Path) -> None:
    named = set(re.findall(r"`([\w.-]+(?:/[\w.*-]+)*/?)`", page.read_text("utf-8")))
    paths = {name for name in named if name.partition("/")[0] in FOLDERS}
    paths |= {
        name
        for name in named
        if re.fullmatch(r"[\w-]+\.(txt|lock|yml|toml)|[A-Z]+\.md", name)
    }

    missing = [name for name in sorted(paths) if not any(ROOT.glob(name.rstrip("/")))]

    assert missing == []


@a_page
def test_commands_exist(page: Path) -> None:
    said = page.read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE)

    unknown = [
        *(set(re.findall(r"(?:^|`)make ([a-z-]+)", said, re.M)) - set(targets)),
        *(set(re.findall(r"manage\.py ([a-z_]+)", said)) - set(get_commands())),
    ]

    assert unknown == []


def test_snippets_stand_where_they_are_run() -> None:
    with_code = {str(page.relative_to(ROOT)) for page in PAGES if snippets(str(page))}

    # By test_docs.py of tests/integration and of its telegram/, and by tests/packaging.
    assert with_code == {"docs/engine.md", "docs/engine-tests.md", "docs/bot.md"}


def test_every_alert_stands_in_the_runbook() -> None:
    groups = yaml.safe_load(text("ops/prometheus/alerts.yml"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}

    found = set(re.findall(r"^### (\w+)$", text("docs/operator/runbook.md"), re.M))

    assert found == alerts


def test_decisions_are_listed_and_short() -> None:
    written = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    listed = re.findall(r"\]\((0[^)]+)\)", text("docs/decisions/index.md"))

    assert listed == written
    long = [n for n in written if text(f"docs/decisions/{n}").count("\n") > 40]
    assert long == []


def test_the_ten_questions_are_answered_by_the_architecture() -> None:
    _, _, answers = text("docs/contributing.md").partition('success "Answers"')
    files = re.findall(r"^ +\d+\. `(\S+)`", answers, re.MULTILINE)
    said = text("docs/architecture.md")

    assert len(files) == 10
    silent = [
        file
        for file in files
        if file not in said
        and not (file.rpartition("/")[0] in said and file.rpartition("/")[2] in said)
    ]
    assert silent == []


def test_the_rooms_stand_in_the_order_that_imports_obey() -> None:
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    rooms = re.findall(r"^\| `([\w/]+)/`", text("docs/architecture.md"), re.MULTILINE)
    height = {
        name.replace(".", "/"): -number
        for number, layer in enumerate(layers)
        for name in layer.split(" | ")
    }

    found = [height[room] for room in rooms if room in height]

    assert len(found) > 10
    assert found == sorted(found)


def test_readme_is_read_in_one_sitting() -> None:
    assert text("README.md").count("\n") <= 180


def test_the_image_holds_no_docs() -> None:
    assert "docs" not in text("Dockerfile")
    allowed = re.findall(r"^!(\S+)", text(".dockerignore"), re.MULTILINE)
    assert allowed
    assert not [name for name in allowed if name.startswith("docs")]
