"""Put what was lost or stuck back into the inbox: once, or until told to stop."""

from __future__ import annotations

import logging
import signal
from argparse import ArgumentParser
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from persistence.savers.cleanup_saver import CleanupStateSaver
from persistence.worker import drain, rings

logger = logging.getLogger(__name__)

AWAY = (DatabaseError, InterfaceError, redis.RedisError)
"""PostgreSQL or Redis cannot be asked now."""


class Command(BaseCommand):
    help = "Find what was lost or stuck and put it back through the same doors."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--loop",
            action="store_true",
            help="sweep every SETTLEMENT_SWEEP_SECONDS until SIGINT or SIGTERM",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["loop"]:
            self._loop()
            return
        try:
            self._sweep()
        except AWAY as error:
            raise CommandError(f"cannot sweep: {error}") from error

    def _loop(self) -> None:
        """A sweep that was begun is finished before a signal ends the loop."""
        signals = {signal.SIGINT, signal.SIGTERM, signal.SIGALRM}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        while True:
            try:
                self._sweep()
            except AWAY:
                logger.warning("sweep failed; the next one looks again", exc_info=True)
            # A pause that a stop ends at once, which time.sleep is not here.
            signal.alarm(settings.SETTLEMENT_SWEEP_SECONDS)
            if signal.sigwait(signals) != signal.SIGALRM:
                return

    def _sweep(self) -> None:
        drain.check_connection()
        found = CleanupStateSaver().sweep()
        self.stdout.write(" ".join(f"{kind}={count}" for kind, count in found.items()))
        self.stdout.flush()
        if any(found.values()):
            rings.send_ring()
