"""`python -m tests`: all but tests/browser, as three runs of pytest side by side.

More than half of the time goes by in waiting: for servers that come back, for leases
that run out, for programs that start. Each run has servers of its own. Options are
handed to all; for some of the tests call pytest itself.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack

BESIDE = (
    (
        "tests/chaos",
        "tests/integration/test_doors_state_machine.py",
        "tests/integration/test_heartbeat.py",
        "tests/integration/test_pause.py",
        "tests/integration/test_start_waits.py",
    ),
    (
        "tests/integration/admin",
        "tests/integration/embedded",
        "tests/integration/telegram",
        "tests/integration/test_demo.py",
        "tests/unit",
    ),
)
"""What runs beside the rest: as long as that takes, on a quiet machine."""

LEFT_OUT = "tests/browser"


def main(options: Sequence[str]) -> int:
    pytest = [sys.executable, "-m", "pytest", *options]
    left_out = [LEFT_OUT, *(path for paths in BESIDE for path in paths)]
    sys.stdout.write(
        f"Every test but {LEFT_OUT}; those need Chromium: make test-browser\n"
        f"{', '.join(left_out[1:])} run beside the others and are shown at the end.\n"
    )
    sys.stdout.flush()
    with ExitStack() as stack:
        told = [
            stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            for _ in BESIDE
        ]
        beside = [
            stack.enter_context(
                subprocess.Popen([*pytest, *paths], stdout=out, stderr=out)
            )
            for paths, out in zip(BESIDE, told, strict=True)
        ]
        ignored = [f"--ignore={path}" for path in left_out]
        codes = [subprocess.run([*pytest, *ignored], check=False).returncode]
        for run, out in zip(beside, told, strict=True):
            codes.append(run.wait())
            out.seek(0)
            shutil.copyfileobj(out, sys.stdout)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
