"""`manage.py run`: the whole system until Ctrl-C, with something always going on."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from demo.endless import Endless
from demo.opening import stop_on_signals
from demo.stack import StackError


class Command(BaseCommand):
    help = "Run worker, beat, web server, Flower and a trickle of fights until Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        stop_on_signals()
        try:
            Endless(sys.stdout).perform()
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
        except StackError as error:
            raise CommandError(str(error)) from None
