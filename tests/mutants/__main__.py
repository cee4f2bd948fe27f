"""`make mutants`: change the core on purpose, and see which changes no test notices.

Works in copies of the project under `.data/mutants/`, with servers that stay up, and at
the lowest priority. Python is changed by mutmut, Lua by `tests.mutants.lua`. One module
or script is done alone by its name: `make mutants ARGS=plan`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis

import devservers
from tests.mutants.lua import mutants
from tests.mutants.targets import MODULES, SCRIPTS, Target

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / ".data" / "mutants"
PATIENCE_SECONDS = 300
ALLOWED_ALIVE = 0.05

ALIVE = (0, 33)
NOTICED = (1, 24, 36, 152, -24)
"""Exit codes of mutmut's: tests passed, or there is none; tests failed, or took too
long. Any other says that pytest did not run, which mutmut calls a time-out, too."""

PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "--reuse-db"]


@dataclass(slots=True)
class Result:
    """`alive`: the changed line of each that no test noticed."""

    total: int = 0
    alive: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    known = [*MODULES, *SCRIPTS]
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(known))
    names = parser.parse_args().names or known
    if unknown := set(names) - set(known):
        parser.error(f"no such module or script: {', '.join(sorted(unknown))}")
    os.nice(15)
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Of this run alone: another one would stop them at its end.
    with tempfile.TemporaryDirectory(prefix="servers-", dir=FOLDER) as data:
        sys.exit(_told(_with_servers(names, Path(data))))


def _with_servers(names: list[str], data_dir: Path) -> dict[str, Result]:
    servers = devservers.ensure(data_dir)
    environment = {
        **os.environ,
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "SETTLEMENT_TESTS_EMPTY_REDIS": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        return dict(_results(names, environment))
    finally:
        devservers.stop(data_dir)


def _results(
    names: list[str], environment: Mapping[str, str]
) -> Iterator[tuple[str, Result]]:
    for name in names:
        started = time.monotonic()
        if name in MODULES:
            result = _of_python(name, MODULES[name], environment)
        else:
            result = _of_lua(name, SCRIPTS[name], environment)
        _say(
            f"{name}: {result.total - len(result.alive)} of {result.total} noticed "
            f"in {time.monotonic() - started:.0f} s"
        )
        yield name, result


def _copy(name: str) -> Path:
    """What git knows of the project, and what is new."""
    target = FOLDER / name
    shutil.rmtree(target, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listed, cwd=PROJECT, check=True, capture_output=True)
    for path in filter(None, found.stdout.decode().split("\0")):
        if (PROJECT / path).is_file():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / path, target / path)
    return target


def _of_python(name: str, target: Target, environment: Mapping[str, str]) -> Result:
    copy = _copy(name)
    package = Path(target.source).parts[0]
    others = [path.name for path in copy.iterdir() if path.name != package]
    settings = {
        "source_paths": [package],
        "only_mutate": [target.source],
        "also_copy": [other for other in others if other != "tests"],
        "pytest_add_cli_args": PYTEST,
        "pytest_add_cli_args_test_selection": list(target.tests),
        "use_git_change_detection": False,
        "timeout_constant": 60.0,
    }
    if target.needs_servers:
        # A fork of a process that is connected would talk over its connections.
        settings["process_isolation"] = "forkserver"
    with (copy / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n[tool.mutmut]\n")
        file.writelines(f"{key} = {_toml(value)}\n" for key, value in settings.items())
    children = "1" if target.needs_servers else "2"
    mutmut = [sys.executable, "-m", "mutmut"]
    run = [*mutmut, "run", "--max-children", children]
    with (FOLDER / f"{name}.log").open("wb") as log:
        subprocess.run(
            run, cwd=copy, env=environment, stdout=log, stderr=log, check=False
        )
    meta = copy / "mutants" / f"{target.source}.meta"
    ended = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    if not ended or not set(ended.values()) <= {*ALIVE, *NOTICED}:
        raise SystemExit(f"not every mutant was run; see {FOLDER / f'{name}.log'}")
    alive = [mutant for mutant, code in ended.items() if code in ALIVE]
    return Result(len(ended), [_shown(mutant, copy) for mutant in alive])


def _shown(mutant: str, copy: Path) -> str:
    """The changed lines of a mutant."""
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", "show", mutant],
        cwd=copy,
        capture_output=True,
        check=True,
        text=True,
    )
    lines = re.findall(r"^\+(?!\+\+)(.*)$", done.stdout, re.MULTILINE)
    return " ".join(line.strip() for line in lines)


def _of_lua(name: str, target: Target, environment: Mapping[str, str]) -> Result:
    copy = _copy(name)
    path = copy / target.source
    source = path.read_text(encoding="utf-8")
    tests = target.tests
    if not _passes(copy, tests, environment):
        raise SystemExit(f"{name}: its tests fail without any change")
    result = Result()
    for mutant in mutants(source):
        path.write_text(mutant.text(source), encoding="utf-8")
        result.total += 1
        if _passes(copy, tests, environment):
            result.alive.append(mutant.after.strip())
            _say(f"  alive: {name}:{mutant.line}: {mutant.after.strip()}")
    return result


def _passes(copy: Path, tests: Sequence[str], environment: Mapping[str, str]) -> bool:
    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        client.flushall()
    command = [sys.executable, "-m", "pytest", *PYTEST, *tests]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _told(results: Mapping[str, Result]) -> int:
    """What lives, with its reason; 1 where that is too much, or unexplained."""
    file = Path(__file__).with_name("alive.toml")
    explained = tomllib.loads(file.read_text(encoding="utf-8"))
    unexplained = 0
    for name, result in results.items():
        reasons = {e["change"]: e["why"] for e in explained.get(name, [])}
        for change in result.alive:
            why = reasons.get(change)
            unexplained += why is None
            _say(f"alive in {name}: {change}\n    {why or 'UNEXPLAINED'}")
    total = sum(result.total for result in results.values())
    alive = sum(len(result.alive) for result in results.values())
    share = alive / max(1, total)
    _say(f"{alive} of {total} live ({share:.1%}), {unexplained} of them unexplained")
    return int(unexplained > 0 or share > ALLOWED_ALIVE)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
