"""What `demo` and `run` do first: tables, world, and an orderly answer to signals."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from demo.world import claim_world


def prepare_world() -> None:
    """Bring the tables up to date and people them. Raises CommandError."""
    if not settings.DEBUG:
        raise CommandError(
            "This command invents a world and its fights: DEBUG must be on, so that "
            "it never happens to a real one."
        )
    call_command("migrate", verbosity=0, interactive=False)
    claim_world()
    call_command("seed_world", verbosity=0)


def stop_on_signals() -> None:
    """SIGTERM and a closed terminal end this process like Ctrl-C: children first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    # A shell without job control starts what it puts aside with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
