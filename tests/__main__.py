"""`python -m tests`: all but tests/browser, as two runs of pytest side by side.

Nearly half of the time goes by in waiting: for servers that come back, for leases that
run out, for programs that start. Each run has servers of its own. Options are handed to
both; for some of the tests call pytest itself.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

WAITING = (
    "tests/chaos",
    "tests/integration/embedded",
    "tests/integration/test_demo.py",
)
"""What waits most: half of a quiet machine's time."""

LEFT_OUT = "tests/browser"


def main(options: Sequence[str]) -> int:
    pytest = [sys.executable, "-m", "pytest", *options]
    ignored = [f"--ignore={path}" for path in (*WAITING, LEFT_OUT)]
    sys.stdout.write(
        f"Every test but {LEFT_OUT}; those need Chromium: make test-browser\n"
        f"{', '.join(WAITING)} run beside the others and are shown at the end.\n"
    )
    sys.stdout.flush()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
        with subprocess.Popen(
            [*pytest, *WAITING], stdout=told, stderr=subprocess.STDOUT
        ) as waiting:
            others = subprocess.run([*pytest, *ignored], check=False)
        told.seek(0)
        shutil.copyfileobj(told, sys.stdout)
    return others.returncode or waiting.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
