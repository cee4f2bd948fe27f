"""`manage.py demo`: settle simulated fights with real processes, and prove each one.

Exit status 0 only if every combat is accounted for exactly once, every character owns
what the engine's own journal foretells, every deed of an adventurer got the right
answer and is saved, and `reconcile` finds nothing.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from secrets import randbelow
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from demo.opening import stop_on_signals
from demo.play import Play, Stalled
from demo.schedule import MIN_COMBATS
from demo.stack import StackError


class Command(BaseCommand):
    help = "Settle simulated fights with a real worker, and prove every one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--combats", type=int, default=500)
        parser.add_argument("--seed", type=int, help="repeats the fights of a run")
        parser.add_argument(
            "--clock",
            type=int,
            help="Unix time at which the fights start (default: now); with the same "
            "seed, over an equal world, it repeats a run to the byte",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["combats"] < MIN_COMBATS:
            raise CommandError(
                f"--combats must be at least {MIN_COMBATS}: every mishap has to fit in."
            )
        if (options["clock"] or 0) > time.time():
            raise CommandError(
                "--clock must not lie in the future: no fight has ended yet."
            )
        stop_on_signals()
        seed, clock = options["seed"], options["clock"]
        play = Play(
            options["combats"],
            randbelow(2**32) if seed is None else seed,
            int(time.time()) if clock is None else clock,
            sys.stdout,
        )
        try:
            is_right = play.perform()
        except KeyboardInterrupt:
            self.stderr.write("\nInterrupted; all processes are stopped.")
            sys.exit(130)
        except (StackError, Stalled) as error:
            raise CommandError(str(error)) from None
        if not is_right:
            sys.exit(1)
