"""DATA_DIR/servers.json: what runs over a data directory, and the proof that it does.

The supervisor keeps a lock on the very file it wrote, taken before that file got its
name. A locked file therefore describes a live pair; an unlocked one describes the
last pair, and is read only for the ports and the socket directory worth reusing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from devservers import locks


@dataclass(frozen=True)
class State:
    """One running pair. The pids are those of the two main server processes."""

    data_dir: str
    supervisor_pid: int
    postgres_pid: int
    postgres_port: int
    redis_pid: int
    redis_port: int
    socket_dir: str
    database_url: str
    redis_url: str


@contextlib.contextmanager
def published(data_dir: Path, state: State) -> Iterator[None]:
    """Vouch for a pair that answers: `live` finds it until this block ends."""
    _write_env(data_dir, state)
    temporary = data_dir / "servers.json.new"
    with temporary.open("w", encoding="utf-8") as file:
        locks.try_exclusive(file.fileno())  # nobody else opens it before its rename
        json.dump(asdict(state), file, indent=2)
        file.flush()
        temporary.replace(data_dir / "servers.json")
        yield


def live(data_dir: Path) -> State | None:
    """The pair that a living supervisor vouches for, or None."""
    try:
        descriptor = os.open(data_dir / "servers.json", os.O_RDONLY)
    except FileNotFoundError:
        return None
    with open(descriptor, encoding="utf-8") as file:
        if locks.try_shared(descriptor):
            return None
        return State(**json.load(file))


def last(data_dir: Path) -> State | None:
    """What the pair before used: a preference only, so an unreadable file is none.

    None as well for a copy of another data directory, whose pair may be running.
    """
    try:
        state = State(**json.loads((data_dir / "servers.json").read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return state if state.data_dir == str(data_dir) else None


def _write_env(data_dir: Path, state: State) -> None:
    values = {
        "DATABASE_URL": state.database_url,
        "REDIS_URL": state.redis_url,
        "CELERY_BROKER_URL": state.redis_url,
    }
    lines = [f"export {name}={shlex.quote(url)}\n" for name, url in values.items()]
    temporary = data_dir / "env.new"
    temporary.write_text("".join(lines), encoding="utf-8")
    temporary.replace(data_dir / "env")
