"""Forget the bytes of rejected payloads that were seen last long ago.

Code, errors and counts stay; what is forgotten can be handed over no more.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from combat_history.actions import retention
from combat_history.management import pruning


class Command(BaseCommand):
    help = "Delete the bytes of rejected payloads not seen for so many days."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        pruning.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        before = pruning.cutoff(options["older_than"])
        dry_run = options["dry_run"]
        done = retention.prune_rejected(before, options["batch"], dry_run=dry_run)
        total = pruning.prune(
            self,
            "prune_rejected",
            "rejected payloads emptied",
            done,
            None if dry_run else before,
        )
        ending = "would be emptied" if dry_run else "emptied"
        found = f"{total.rows} rejected payloads, {total.size} bytes"
        self.stdout.write(f"{found}, {ending}")
