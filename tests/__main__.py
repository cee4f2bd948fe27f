"""`python -m tests`: all but tests/browser, by several processes with own servers.

More than half of the time goes by in waiting: for servers that come back, for leases
that run out, for programs that start. So there are more processes than cores. Whoever
names some of the tests has just those run, and in one process unless `-n` says more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROCESSES = 4
LEFT_OUT = "tests/browser"


def command(options: Sequence[str]) -> list[str]:
    """What runs what `options` name; all options are pytest's."""
    pytest = [sys.executable, "-m", "pytest"]
    if any(Path(option.partition("::")[0]).exists() for option in options):
        return [*pytest, *options]
    are_given = all(os.environ.get(name) for name in ("DATABASE_URL", "REDIS_URL"))
    processes = [] if are_given else ["-n", str(PROCESSES)]
    return [*pytest, f"--ignore={LEFT_OUT}", *processes, *options]


def main(options: Sequence[str]) -> int:
    run = command(options)
    if f"--ignore={LEFT_OUT}" in run:
        sys.stdout.write(
            f"Every test but {LEFT_OUT}; those need Chromium: make test-browser\n"
        )
        sys.stdout.flush()
    return subprocess.run(run, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
