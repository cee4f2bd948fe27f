"""Arguments, sums and audit entries of the commands that forget something."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from combat_history.actions import audit, retention
from combat_history.actions.mode import command_actor
from combat_history.actions.retention import Pruned
from combat_history.models import AuditEntry


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--older-than", type=_days, required=True, metavar="DAYS")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would go, change nothing"
    )
    parser.add_argument(
        "--batch", type=_positive, default=retention.BATCH, help="rows a transaction"
    )


def cutoff(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


def prune(
    command: BaseCommand,
    verb: str,
    what: str,
    done: Iterable[Pruned],
    before: datetime | None,
) -> Pruned:
    """The sum of all batches, in the audit as `verb`; also of those before a failure.

    `before`: what was older is gone; None of a dry run.
    """
    total = Pruned()
    try:
        for pruned in done:
            total += pruned
    except (DatabaseError, InterfaceError) as error:
        command.stdout.write(f"{total.rows} {what} until then")
        with suppress(DatabaseError, InterfaceError):
            _record(verb, before, total)
        raise CommandError(f"ended early: {error}") from error
    _record(verb, before, total)
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
