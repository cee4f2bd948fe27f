"""The admin: replays, corrects, voids, undoes, pauses; writes down what was done.

A process with Django of its own, which may be killed in the middle of an action. In its
next life it repeats what it had begun until it is told how it ended: every action may
be repeated.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

import django


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--seed", required=True)
    options = parser.parse_args()
    django.setup()
    from tests.storm.admin import Desk

    desk = Desk(Path(options.folder), options.seed)
    signal.signal(signal.SIGTERM, lambda *_: desk.finishing.set())
    desk.work()


if __name__ == "__main__":
    main()
