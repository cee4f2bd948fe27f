"""PostgreSQL and Redis of our own, for a machine that has none.

`ensure` is the door. All commands over one data directory share one pair of servers:
the first starts a detached supervisor, which starts both servers, restarts one that
dies, and stops both once no command is left. (Its command line is
`python -m devservers DATA_DIR LOCK_DESCRIPTOR`.) Another user of the machine gets
nothing: PostgreSQL serves in a closed folder, Redis asks for a password that is kept
in one.

Who decides what is settled by file locks alone (see `locks`), so it survives kill -9
of anybody at any point:
- a user holds the lease for as long as any process that inherited it lives;
- the supervisor leaves only by taking the lease for itself and dies with it in hand,
  so a newcomer either keeps it alive or waits for its end and starts the next one;
- who gets the supervisor lock starts the supervisor and hands the lock over to it.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devservers import identity, locks, state
from devservers.errors import EmbeddedError, tail

__all__ = ["EmbeddedError", "Servers", "ensure", "stop"]

ATTACH_TIMEOUT_SECONDS = 60  # a cold start takes 2 s; a slow disk gets 30 times that
POLL_SECONDS = 0.02
PROJECT_ROOT = Path(__file__).resolve().parents[1]

_leases: dict[Path, int] = {}
"""Held until this process and all its forked children are gone; never closed."""


@dataclass(frozen=True)
class Servers:
    """Addresses of the pair: of a unix socket (`?host=/dir`), and with a password."""

    database_url: str
    redis_url: str


def ensure(data_dir: Path) -> Servers:
    """Attach to the running pair over `data_dir`, or start it.

    This process and its forked children are users of the pair until they exit; an
    exec'd program calls `ensure` itself. Calling again is harmless and returns the
    addresses of the moment: they stay the same unless somebody took a port while no
    pair was running. Raises EmbeddedError.
    """
    data_dir = data_dir.resolve()
    _claim(data_dir)
    deadline = time.monotonic() + ATTACH_TIMEOUT_SECONDS
    _hold_lease(data_dir, deadline)
    while (pair := state.live(data_dir)) is None:
        _start_if_nobody_does(data_dir)
        _pause(data_dir, deadline)
    return Servers(pair.database_url, pair.redis_url)


def stop(data_dir: Path) -> None:
    """Stop the pair over `data_dir` cleanly, whoever uses it; returns once it is gone.

    Harmless where none runs. A user that stays gets a pair again from `ensure` only.
    """
    data_dir = data_dir.resolve()
    if not data_dir.exists():
        return
    deadline = time.monotonic() + ATTACH_TIMEOUT_SECONDS
    lock = locks.open_lock(data_dir, "supervisor")
    try:
        while not locks.try_exclusive(lock):
            if pair := state.live(data_dir):
                os.kill(pair.supervisor_pid, signal.SIGTERM)
            _pause(data_dir, deadline)
    finally:
        os.close(lock)


def _claim(data_dir: Path) -> None:
    """Create the directory, or refuse one whose files this user could not handle."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity.admit(data_dir)
        logs = data_dir / "logs"
        logs.mkdir(exist_ok=True)
        logs.chmod(0o700)
        cluster = data_dir / "postgres"
        if cluster.exists() and os.geteuid() not in (0, cluster.stat().st_uid):
            raise EmbeddedError(_foreign(data_dir, cluster))
        os.close(locks.open_lock(data_dir, "lease"))
    except PermissionError as error:
        raise EmbeddedError(_foreign(data_dir, Path(error.filename))) from error
    except OSError as error:
        raise EmbeddedError(f"{data_dir} cannot hold the servers: {error}") from error


def _foreign(data_dir: Path, path: Path) -> str:
    return (
        f"{path} is closed to this user ({_user_name(os.geteuid())}); another user, "
        f"often root, made it. Run as that user, delete {data_dir} (it holds the "
        "embedded databases), or set DATABASE_URL and REDIS_URL to other servers."
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _hold_lease(data_dir: Path, deadline: float) -> None:
    """Become a user. Waits while a supervisor that found no user is shutting down."""
    held = _leases.get(data_dir)
    if held is not None and _is_open_on(held, data_dir / "locks" / "lease"):
        return
    lease = locks.open_lock(data_dir, "lease")
    while not locks.try_shared(lease):
        _pause(data_dir, deadline)
    _leases[data_dir] = lease


def _is_open_on(descriptor: int, path: Path) -> bool:
    """False after a daemon closed all its files, or after DATA_DIR was deleted."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _start_if_nobody_does(data_dir: Path) -> None:
    lock = locks.open_lock(data_dir, "supervisor")
    try:
        if locks.try_exclusive(lock):
            _start_supervisor(data_dir, lock)
    finally:
        os.close(lock)


def _start_supervisor(data_dir: Path, lock: int) -> None:
    """Returns once both servers answer. The lock passes to the supervisor."""
    module = [sys.executable, "-m", "devservers"]
    try:
        subprocess.run(
            [*module, str(data_dir), str(lock)],
            check=True,
            cwd=PROJECT_ROOT,
            env=_neutral(os.environ),
            pass_fds=(lock,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=2 * ATTACH_TIMEOUT_SECONDS,  # both servers have their own limit
        )
    except subprocess.CalledProcessError as error:
        raise EmbeddedError(error.stderr.decode(errors="replace").strip()) from None
    except subprocess.TimeoutExpired:
        raise EmbeddedError(_late(data_dir)) from None


def _neutral(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what would steer PostgreSQL: its own variables and a missing locale."""
    foreign = ("PG", "LC_", "LANG")
    kept = {k: v for k, v in environment.items() if not k.startswith(foreign)}
    return kept | {"LC_ALL": "C"}


def _pause(data_dir: Path, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise EmbeddedError(_late(data_dir))
    time.sleep(POLL_SECONDS)


def _late(data_dir: Path) -> str:
    return (
        f"The embedded servers over {data_dir} are neither up nor gone after "
        f"{ATTACH_TIMEOUT_SECONDS} s. Look at the log, stop what still runs there "
        f"(pids in {data_dir / 'servers.json'}), and try again.\n"
        + tail(data_dir / "logs" / "supervisor.log")
    )
