"""`python -m tests.storm --minutes 10`: exit status 0 where nothing was found."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import django

from tests.storm.servers import Servers

if TYPE_CHECKING:
    from tests.storm.report import Report

ALONE = "STORM_HAS_MOUNTS_OF_ITS_OWN"


def main() -> int:
    options = _options()
    _take_mounts_of_its_own()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="storm-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    sys.stdout.write(f"SEED={options.seed}, journals in {folder}\n")
    sys.stdout.flush()
    servers = Servers(folder, options.servers)
    try:
        report = _storm(folder, options, servers)
    finally:
        servers.stop()
    sys.stdout.write(f"{report}\n")
    if options.json:
        text = json.dumps(report.as_dict(), indent=1)
        Path(options.json).write_text(text, encoding="utf-8")
    if report.is_clean and not options.folder:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if report.is_clean else 1


def _storm(folder: Path, options: argparse.Namespace, servers: Servers) -> Report:
    os.environ.update(
        servers.addresses(), DJANGO_SETTINGS_MODULE="settlement_project.settings"
    )
    django.setup()
    # Only now: what it imports has models.
    from tests.storm.storm import Storm

    return Storm(folder, options, servers).run()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--servers", choices=("embedded", "debian"), default="embedded")
    parser.add_argument("--rate", type=float, default=40, help="fights a second")
    parser.add_argument("--gap", type=float, default=0.4, help="seconds between faults")
    for name in ("combats", "operations", "faults"):
        parser.add_argument(f"--{name}", type=int, default=0, help="at least so many")
    parser.add_argument("--only", default="", help="faults, by words of their names")
    parser.add_argument("--without", default="", help="faults or activities, likewise")
    parser.add_argument("--older", default="", help="commit of the older worker")
    parser.add_argument("--folder", help="for journals and logs; kept")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


def _take_mounts_of_its_own() -> None:
    """As root: disks of the storm vanish with it, however it ends."""
    if os.geteuid() != 0 or os.environ.get(ALONE) or shutil.which("unshare") is None:
        return
    os.environ[ALONE] = "1"
    again = [sys.executable, "-m", "tests.storm", *sys.argv[1:]]
    os.execvp("unshare", ["unshare", "--mount", *again])


if __name__ == "__main__":
    sys.exit(main())
