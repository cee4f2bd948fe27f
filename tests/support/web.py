"""uvicorn in a process of its own, which dies with the test run."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from persistence.contract.document import Document
from tests.support.ids import BOT, ENGINE, TOKEN
from tests.support.waiting import wait_until
from tests.support.worker import Process, environment


class Web(Process):
    """uvicorn on a port that was taken before it started."""

    def __init__(
        self, log: Path, env: Mapping[str, str], options: Sequence[str] = ()
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
            self.address = f"http://127.0.0.1:{self.port}"
            fd = listener.fileno()
            super().__init__(
                log,
                ["-m", "settlement_project.web", "--fd", str(fd), *options],
                environment(**{"SETTLEMENT_API_TOKENS": f"{BOT},{ENGINE}", **env}),
                pass_fds=[fd],
            )

    def ask(self, path: str, document: Document | None = None) -> tuple[int, Any]:
        asked = urllib.request.Request(
            self.address + path,
            data=None if document is None else json.dumps(document).encode(),
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self.is_alive, self.output()
            try:
                return self.ask("/readyz")[0] == 200
            except OSError:
                return False

        wait_until(is_ready, "uvicorn is ready")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()


@contextmanager
def running_web(log: Path, *options: str, **env: str) -> Iterator[Web]:
    """A web server that is ready, for the length of a block."""
    web = Web(log, env, options)
    try:
        web.wait_ready()
        yield web
    finally:
        web.stop()
