"""Where the peers' packages are: environments that `make peers` makes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.servers import BASE_DIR

PEERS = BASE_DIR / ".venv-peers"
ARQ = BASE_DIR / ".venv-peers-arq"
COMMAND = "make peers"
SHOWN = {
    PEERS: ("celery", "celery-batches", "taskiq", "taskiq-redis", "procrastinate"),
    ARQ: ("arq", "sqlalchemy", "asyncpg"),
}


def python(environment: Path) -> str:
    return str(environment / "bin" / "python")


def missing() -> str | None:
    """What to do, if an environment is not there."""
    absent = [e.name for e in SHOWN if not (e / "installed").exists()]
    if not absent:
        return None
    return f"the peers' packages are not installed ({', '.join(absent)}): {COMMAND}"


def require() -> None:
    if reason := missing():
        raise BenchmarkError(reason)


def versions() -> str:
    return ", ".join(
        f"{name} {version}"
        for environment, names in SHOWN.items()
        for name, version in _versions(environment, names)
    )


def _versions(environment: Path, names: Iterable[str]) -> list[tuple[str, str]]:
    (packages,) = environment.glob("lib/python*/site-packages")
    found = {d.name.lower(): d.version for d in distributions(path=[str(packages)])}
    return [(name, found[name]) for name in names]
