"""Forget the per-minute counts of long ago; the dashboard shows a week."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from combat_history.actions import retention
from combat_history.management import pruning


class Command(BaseCommand):
    help = "Delete per-minute counts older than so many days."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        pruning.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        before = pruning.cutoff(options["older_than"])
        dry_run = options["dry_run"]
        done = retention.prune_counts(before, options["batch"], dry_run=dry_run)
        total = pruning.prune(
            self, "prune_counts", "counts deleted", done, None if dry_run else before
        )
        ending = "would be deleted" if dry_run else "deleted"
        self.stdout.write(f"{total.rows} counts {ending}")
