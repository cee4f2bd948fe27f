"""What the wheel holds, and that it says of its needs what the pins prove."""

from __future__ import annotations

import re
import tomllib
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.packaging.environments import ROOT, built_wheel

PACKAGES = ("combat_history", "persistence", "settlement_project")
LEFT_OUT = re.compile(r"\.(po|pyc)$")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
SERVER = [Requirement(need) for need in PROJECT["dependencies"] + EXTRAS["server"]]


@pytest.fixture(scope="module")
def wheel() -> ZipFile:
    with built_wheel() as path:
        return ZipFile(path)


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}

    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.*")]
    names = {str(path.relative_to(ROOT)) for path in files if path.is_file()}
    assert held == {name for name in names if not LEFT_OUT.search(name)}


@pytest.mark.parametrize("ending", ["py.typed", ".lua", ".mo", ".html", ".css", ".js"])
def test_the_wheel_holds_what_is_no_code(wheel: ZipFile, ending: str) -> None:
    assert any(name.endswith(ending) for name in wheel.namelist())


def test_its_version_is_the_topmost_of_the_changelog(wheel: ZipFile) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (version, _), *_ = re.findall(
        r"^## (\S+) - (\d{4}-\d\d-\d\d|unreleased)$", changelog, re.MULTILINE
    )

    assert f"combat_settlement-{version}.dist-info/METADATA" in wheel.namelist()


def pins(name: str) -> dict[str, str]:
    """Versions by package, of a requirements file or a lock."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", text, re.MULTILINE)
    return {_normal(package): version for package, version in found}


def _normal(name: str) -> str:
    return re.sub(r"[._-]+", "-", name).lower()


@pytest.mark.parametrize("need", SERVER, ids=str)
def test_the_pins_are_within_what_the_package_allows(need: Requirement) -> None:
    assert pins("requirements-server.lock")[_normal(need.name)] in need.specifier


def test_contributors_get_by_the_package_what_is_pinned_for_them() -> None:
    pinned = {*pins("requirements.txt"), *pins("requirements-dev.txt")}
    named = {_normal(Requirement(n).name) for n in EXTRAS["server"] + EXTRAS["dev"]}

    assert pinned == named - {_normal(PROJECT["name"])}


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_pin_is_locked(name: str) -> None:
    """Otherwise: make lock."""
    assert pins(f"{name}.txt").items() <= pins(f"{name}.lock").items()


def test_the_server_is_locked_as_it_is_tested() -> None:
    assert pins("requirements-server.lock").items() <= pins("requirements.lock").items()
