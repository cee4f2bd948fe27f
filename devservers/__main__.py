"""Detach a supervisor, and wait until its servers answer or it gives up.

Exit status 0: both answer, and the supervisor goes on in a session of its own.
Exit status 1: the reason is on stderr, for the command that asked for the servers.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from devservers import supervisor
from devservers.errors import EmbeddedError, tail

READY = "ready"

logger = logging.getLogger(__name__)


def main(data_dir: Path) -> str | int:
    """What to exit with, here and, much later, in the supervisor."""
    log = data_dir / "logs" / "supervisor.log"
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _detach(log)
        return _supervise(data_dir, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        told = pipe.read()
    if told == READY:
        return 0
    return told or f"The supervisor died at its start.\n{tail(log)}"


def _detach(log: Path) -> None:
    """Out of reach of the terminal and of the starter's pipes and directory."""
    os.setsid()
    os.chdir("/")
    os.umask(0o077)  # addresses hold a password, and logs hold data
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    os.close(descriptor)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s [%(process)d] %(message)s"
    )
    signal.signal(signal.SIGTERM, _leave)


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    """End `run`, which stops both servers; a second signal must not cut that short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


def _supervise(data_dir: Path, writer: int) -> int:
    with open(writer, "w", encoding="utf-8") as pipe:

        def tell(message: str) -> None:
            pipe.write(message)
            pipe.close()

        try:
            supervisor.run(data_dir, on_ready=lambda: tell(READY))
        except EmbeddedError as error:
            logger.error("%s", error)
            if not pipe.closed:
                tell(str(error))
            return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Not a command for people: call devservers.ensure.")
    # The second argument is the supervisor lock: only to be held, so never touched.
    sys.exit(main(Path(sys.argv[1])))
