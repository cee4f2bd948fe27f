"""The web server as it is deployed, over the database of the tests."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.waiting import wait_until
from tests.support.worker import PROJECT_ROOT, environment


class Site:
    """uvicorn on a port that was taken before it started."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as out:
            self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            fd = listener.fileno()
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", "--fd", str(fd)),
                    # An open browser must not hold up the end.
                    *("--timeout-graceful-shutdown", "1"),
                    "settlement_project.asgi:application",
                ],
                cwd=PROJECT_ROOT,
                # Static files straight from the tree, cookies without TLS.
                env=environment(
                    DEBUG="true", DJANGO_SETTINGS_MODULE="tests.browser.site_settings"
                ),
                pass_fds=[fd],
                stdout=out,
                stderr=out,
                # Dies with the test run, however that ends.
                preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),
            )

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            try:
                with urllib.request.urlopen(f"{self.address}/livez", timeout=5) as told:
                    return bool(told.status == 200)
            except OSError:
                return False

        wait_until(is_ready, "uvicorn is ready")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
