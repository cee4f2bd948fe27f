"""`make mutants`: change the core on purpose, and see which changes no test notices.

Works in copies of the project under `.data/mutants/`, with servers that stay up, and at
the lowest priority. Python is changed by mutmut, Lua by `tests.mutants.lua`; the tests
are run by `tests.mutants.forks`. One module or script is done alone by its name:
`make mutants ARGS=plan`.
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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.utils.format_utils import mangled_name_from_mutant_name

import devservers
from tests.mutants.forks import CLEAN, NOTICED, Job
from tests.mutants.lua import mutants
from tests.mutants.targets import MODULES, SCRIPTS, Target

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / ".data" / "mutants"
ALLOWED_ALIVE = 0.05

PYTEST = [
    *("-x", "-qq", "-rN", "--tb=no", "-p", "no:cacheprovider"),
    # By a thread, which ends the process: Hypothesis would try what hangs again.
    *("--reuse-db", "--timeout=60", "--timeout-method=thread"),
]


@dataclass(frozen=True, slots=True)
class Result:
    """`alive`: what was changed in each that no test noticed."""

    total: int
    alive: list[str]


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
        sys.exit(_report(_with_servers(names, Path(data))))


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
        result = _result(name, {**MODULES, **SCRIPTS}[name], environment)
        _say(
            f"{name}: {result.total - len(result.alive)} of {result.total} noticed "
            f"in {time.monotonic() - started:.0f} s"
        )
        yield name, result


def _result(name: str, target: Target, environment: Mapping[str, str]) -> Result:
    copy = FOLDER / name
    _copy(copy)
    changes = _of_python(target, copy) if name in MODULES else _of_lua(target, copy)
    (copy / "jobs.json").write_text(json.dumps([asdict(job) for job in changes]))
    forks = ["-p", "tests.mutants.forks", "--mutated", target.source]
    command = [sys.executable, "-m", "pytest", *PYTEST, *forks, *target.tests]
    with (FOLDER / f"{name}.log").open("wb") as log:
        subprocess.run(
            command, cwd=copy, env=environment, stdout=log, stderr=log, check=False
        )
    told = copy / "told.jsonl"
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    ended = {told["name"]: told["ended"] for told in map(json.loads, lines)}
    if {ended.get(job.name) for job in changes} - {CLEAN, NOTICED}:
        raise SystemExit(f"not every mutant was run; see {FOLDER / f'{name}.log'}")
    alive = [change for job, change in changes.items() if ended[job.name] == CLEAN]
    return Result(len(changes), alive)


def _copy(target: Path) -> None:
    """What git knows of the project, and what is new."""
    shutil.rmtree(target, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listed, cwd=PROJECT, check=True, capture_output=True)
    for path in filter(None, found.stdout.decode().split("\0")):
        if (PROJECT / path).is_file():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / path, target / path)


def _of_python(target: Target, copy: Path) -> dict[Job, str]:
    """Writes all mutants into the file, where MUTANT_UNDER_TEST chooses one of them."""
    path = copy / target.source
    mutated = mutate_file_contents(target.source, path.read_text(encoding="utf-8"))
    path.write_text(mutated.code, encoding="utf-8")
    module = target.source.removesuffix(".py").replace("/", ".")
    lines = mutated.code.splitlines()

    def body(name: str) -> list[str]:
        span = mutated.line_span_by_function_name[name]
        own = lines[span.start - 1 : span.end]
        return [re.sub(r"__mutmut_\w+", "", line).strip() for line in own]

    changes = {}
    for name in mutated.mutant_names:
        function = mangled_name_from_mutant_name(name)
        before, after = body(f"{function}__mutmut_orig"), body(name)
        new = " ".join(line for line in after if line not in before)
        gone = " ".join(line for line in before if line not in after)
        change = f"{re.split('ǁ|x_', function)[-1]}: {new or f'without {gone}'}"
        changes[Job(f"{module}.{name}", f"{module}.{function}")] = change
    return changes


def _of_lua(target: Target, copy: Path) -> dict[Job, str]:
    source = (copy / target.source).read_text(encoding="utf-8")
    return {
        Job(str(number), "", mutant.text(source)): mutant.after.strip()
        for number, mutant in enumerate(mutants(source))
    }


def _report(results: Mapping[str, Result]) -> int:
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


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
