"""The commands that forget something: arguments, sums and audit entries."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from combat_history.actions import audit, retention
from combat_history.actions.mode import command_actor
from combat_history.actions.retention import Pruned
from combat_history.models import AuditEntry


class PruneCommand(BaseCommand):
    """`batches`: what forgets, as those of `actions.retention`; `verb`: of the audit;
    `pruned`: what goes, and `gone` how."""

    requires_system_checks = []
    batches: ClassVar[Callable[..., Iterable[Pruned]]]
    verb: ClassVar[str]
    pruned: ClassVar[str]
    gone: ClassVar[str] = "deleted"
    has_size: ClassVar[bool] = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than", type=_days, required=True, metavar="DAYS")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would go, change nothing"
        )
        parser.add_argument(
            "--batch",
            type=_positive,
            default=retention.BATCH,
            help="rows a transaction",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        before = timezone.now() - timedelta(days=options["older_than"])
        dry_run = options["dry_run"]
        total = self._prune(
            self.batches(before, options["batch"], dry_run=dry_run),
            None if dry_run else before,
        )
        size = filesizeformat(total.size).replace("\xa0", " ")
        told = f", {size}," if self.has_size else ""
        ending = f"would be {self.gone}" if dry_run else self.gone
        self.stdout.write(f"{total.rows} {self.pruned}{told} {ending}")

    def _prune(self, done: Iterable[Pruned], before: datetime | None) -> Pruned:
        """The sum of all batches, in the audit; also of those before a failure.

        `before`: what was older is gone; None of a dry run.
        """
        total = Pruned()
        try:
            for pruned in done:
                total += pruned
        except (DatabaseError, InterfaceError) as error:
            self.stdout.write(f"{total.rows} {self.pruned} {self.gone} until then")
            with suppress(DatabaseError, InterfaceError):
                _record(self.verb, before, total)
            raise CommandError(f"ended early: {error}") from error
        _record(self.verb, before, total)
        return total


def _record(verb: str, before: datetime | None, total: Pruned) -> None:
    if before is None:
        return
    actor = command_actor()
    AuditEntry.objects.create(
        actor_name=actor.name,
        verb=verb,
        target_type="retention",
        target_id=f"before {before:%Y-%m-%d %H:%M}",
        outcome=audit.Outcome.DONE,
        detail=f"{total.rows} rows, {total.size} bytes",
    )


def _days(text: str) -> int:
    days = _positive(text)
    if days > 36_500:
        raise ArgumentTypeError("at most 36500 days")
    return days


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError("a whole number above 0")
    return int(text)
