from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from settlement_project.env import Environment
from tests.unit.builders import ROOT


def problems(env: Environment) -> list[str]:
    """The lines of the one message, without its heading."""
    with pytest.raises(ImproperlyConfigured) as caught:
        env.raise_if_invalid()
    heading, *lines = str(caught.value).splitlines()
    assert heading == "The environment is not usable:"
    return [line.removeprefix("  - ") for line in lines]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A", "B", "C", "KEY", "KEY_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_an_environment_without_problems_is_silent() -> None:
    env = Environment()

    assert env.text("A", "x") == "x"
    assert env.flag("A", default=True) is True
    assert env.integer("A", 5, 1, 9) == 5
    assert env.choice("A", "x", ("x", "y")) == "x"
    assert env.names("A", ["z"]) == ["z"]
    assert env.secret("KEY", "demo") == "demo"
    env.raise_if_invalid()


def test_every_problem_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "maybe")
    monkeypatch.setenv("B", "many")
    monkeypatch.setenv("C", "99")
    env = Environment()

    env.flag("A", default=False)
    env.integer("B", 5, 1, 9)
    env.integer("C", 5, 1, 9)
    env.choice("A", "x", ("x", "y"))
    env.secret("KEY", None)
    env.problem("two settings disagree")

    assert problems(env) == [
        "A='maybe' is not a flag: use true or false",
        "B='many' is not a whole number",
        "C=99 is not between 1 and 9",
        "A='maybe' is not one of x, y",
        "KEY (or KEY_FILE) must be set unless DEBUG is on",
        "two settings disagree",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", True),
        ("true", True),
        ("TRUE", True),
        ("yes", True),
        ("On", True),
        ("0", False),
        ("false", False),
        ("No", False),
        ("off", False),
    ],
)
def test_flags(monkeypatch: pytest.MonkeyPatch, text: str, value: bool) -> None:
    monkeypatch.setenv("A", text)
    env = Environment()

    assert env.flag("A", default=not value) is value
    env.raise_if_invalid()


@pytest.mark.parametrize("default", [True, False])
def test_an_empty_flag_is_its_default(
    monkeypatch: pytest.MonkeyPatch, default: bool
) -> None:
    monkeypatch.setenv("A", "")

    assert Environment().flag("A", default=default) is default


@pytest.mark.parametrize(
    ("text", "valid"),
    [("1", True), ("9", True), ("0", False), ("10", False), ("-1", False)],
)
def test_bounds_of_integers_are_inclusive(
    monkeypatch: pytest.MonkeyPatch, text: str, valid: bool
) -> None:
    monkeypatch.setenv("A", text)
    env = Environment()

    env.integer("A", 5, 1, 9)

    if valid:
        env.raise_if_invalid()
    else:
        assert problems(env) == [f"A={text} is not between 1 and 9"]


@pytest.mark.parametrize("text", ["1.0", "five", "1e3", "0x10", " "])
def test_an_integer_is_a_whole_number(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("A", text)
    env = Environment()

    assert env.integer("A", 5, 1, 9) == 5
    assert problems(env) == [f"A={text!r} is not a whole number"]


def test_names_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", " a.example, b.example ,,")
    monkeypatch.setenv("B", "")

    assert Environment().names("A", []) == ["a.example", "b.example"]
    assert Environment().names("B", ["default"]) == []


def test_a_secret_is_read_from_the_file_that_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_text("пароль/?#@:%\n", encoding="utf-8")
    monkeypatch.setenv("KEY", "another")
    monkeypatch.setenv("KEY_FILE", str(path))
    env = Environment()

    assert env.secret("KEY", None) == "пароль/?#@:%"
    env.raise_if_invalid()


def test_a_secret_file_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "absent"
    monkeypatch.setenv("KEY_FILE", str(path))
    env = Environment()

    env.secret("KEY", "demo")

    (problem,) = problems(env)
    assert problem.startswith(f"KEY_FILE={str(path)!r} cannot be read: ")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"\n"])
def test_a_secret_file_that_holds_no_secret_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    monkeypatch.setenv("KEY_FILE", str(path))
    env = Environment()

    env.secret("KEY", "demo")

    assert "KEY_FILE" in problems(env)[0]


def test_settings_report_all_that_is_wrong_in_one_message() -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "postgresql://game:hush@db.example/game",
        "REDIS_URL": "redis://cache.example:6379/0",
        "SETTLEMENT_BATCH_SIZE": "0",
        "SETTLEMENT_SHORTAGES": "ignore",
        "LOG_LEVEL": "LOUD",
    }

    done = subprocess.run(
        [sys.executable, "-c", "import settlement_project.settings"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    for name in (
        "SECRET_KEY",
        "ALLOWED_HOSTS",
        "SETTLEMENT_BATCH_SIZE=0",
        "SETTLEMENT_SHORTAGES='ignore'",
        "LOG_LEVEL='LOUD'",
    ):
        assert f"  - {name}" in done.stderr
    assert "hush" not in done.stderr
