"""Forget the fight logs of combats that finished long ago.

Combats that are pending or failed keep theirs; ledger and document stay in any case.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.template.defaultfilters import filesizeformat

from combat_history.actions import retention
from combat_history.management import pruning


class Command(BaseCommand):
    help = "Delete the fight logs of settled combats older than so many days."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        pruning.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        before = pruning.cutoff(options["older_than"])
        dry_run = options["dry_run"]
        done = retention.prune_logs(before, options["batch"], dry_run=dry_run)
        total = pruning.prune(
            self,
            "prune_replays",
            "fight logs deleted",
            done,
            None if dry_run else before,
        )
        size = filesizeformat(total.size).replace("\xa0", " ")
        ending = "would be deleted" if dry_run else "deleted"
        self.stdout.write(f"{total.rows} fight logs, {size}, {ending}")
