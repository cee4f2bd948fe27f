"""Environments made of this checkout's wheel: what other programs install of it.

`python -m tests.packaging.environments bot` makes one and prints its interpreter. They
stay under `.venvs/`, are made anew where they are to hold something else, and are given
the wheel again where something in it has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venvs" / f"python{sys.version_info.major}.{sys.version_info.minor}"

GAME = ("pydantic~=2.11.10", "redis~=5.0.1", "aiogram~=3.22", "arq~=0.26.3")
"""What the game has pinned, beside which the engine's side has to live."""

_PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

OLDEST = tuple(
    re.sub(r">=([\d.]+).*", r"==\1", need)
    for need in tomllib.loads(_PYPROJECT)["project"]["dependencies"]
)
"""Of everything that the engine's side needs, the oldest that is said to do."""

CONTENTS: dict[str, tuple[str, Sequence[str]]] = {
    "engine": ("", GAME),
    "engine-oldest": ("", OLDEST),
    "game": ("", (*GAME, "pytest>=8")),
    "bot": ("[bot]", ("aiogram==3.31.0",)),
    "bot-oldest": ("[bot]", ("aiogram==3.22.0",)),
    "server": ("[server]", ()),
}
"""By name: the extra of the wheel, and what else the installer is told."""

COMPILED = "--compile-bytecode"
"""As pip does it, for what is started often: the first start has no time to."""


@cache
def interpreter(name: str) -> Path:
    """Of the environment described in CONTENTS, with the wheel as it is now."""
    extra, beside = CONTENTS[name]
    place = FOLDER / name
    with _alone(place), built_wheel() as wheel:
        needs = _digest(f"{beside}{_PYPROJECT}".encode())
        wanted = [needs, _digest(wheel.read_bytes())]
        stamp = place / "holds"
        held = stamp.read_text().split() if stamp.exists() else [""]
        if held[0] != needs:
            make(place, COMPILED, f"{wheel}{extra}", *beside)
        elif held != wanted:
            _install(place, COMPILED, "--no-deps", "--reinstall", str(wheel))
        stamp.write_text(" ".join(wanted))
    return place / "bin" / "python"


def make(place: Path, *arguments: str) -> Path:
    """The interpreter of a new environment, of which the installer is told this."""
    _uv("venv", "--clear", "--python", sys.executable, str(place))
    _install(place, *arguments)
    return place / "bin" / "python"


@contextmanager
def built_wheel() -> Iterator[Path]:
    """The wheel of this checkout as it is now, for the length of a block."""
    with TemporaryDirectory() as folder:
        _run("hatchling", "build", "--target", "wheel", "--directory", folder)
        (wheel,) = Path(folder).iterdir()
        yield wheel


def examples_alone() -> Path:
    """A folder that holds the examples and nothing else of this checkout."""
    link = FOLDER / "examples" / "examples"
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        link.symlink_to(ROOT / "examples")
    return link.parent


def outside() -> dict[str, str]:
    """The variables of a program that knows nothing of this checkout."""
    ours = ("PYTHON", "DJANGO_", "SETTLEMENT_", "VIRTUAL_ENV", "PYTEST_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)}


def _install(place: Path, *arguments: str) -> None:
    python = str(place / "bin" / "python")
    _uv("pip", "install", "--python", python, *arguments)


def _uv(*arguments: str) -> None:
    _run("uv", "--quiet", "--no-config", *arguments)


def _run(*module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(module)}: {done.stdout}{done.stderr}")


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Test runs beside this one want the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.stdout.write(f"{interpreter(sys.argv[1])}\n")
