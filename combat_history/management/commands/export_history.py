"""Write the history or the audit as CSV or JSON lines, to a file or standard output.

A file appears only when it is whole. What begins with `=`, `+`, `-` or `@` gets an
apostrophe in CSV, for spreadsheets run it otherwise.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from combat_history.actions.export import (
    Format,
    Selection,
    Source,
    audit_log,
    history,
    lines,
)
from combat_history.management.arguments import character
from combat_history.models import Status


class Command(BaseCommand):
    help = "Export the combat history or the audit, oldest first, in constant memory."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=list(Format), default=Format.CSV)
        parser.add_argument(
            "--audit", action="store_true", help="the audit instead of the combats"
        )
        parser.add_argument(
            "--since", type=_moment, help="finished or done at or after"
        )
        parser.add_argument("--until", type=_moment, help="finished or done before")
        parser.add_argument("--status", choices=Status.values)
        parser.add_argument("--character", type=character)
        parser.add_argument("--output", type=Path, help="default: standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        told = lines(_source(options), Format(options["format"]))
        try:
            if options["output"] is None:
                self._print(told)
            else:
                self.stderr.write(f"{_write(options['output'], told)} lines")
        except (DatabaseError, InterfaceError, OSError) as error:
            raise CommandError(f"cannot export: {error}") from error

    def _print(self, told: Iterable[str]) -> None:
        try:
            for line in told:
                self.stdout.write(line, ending="")
            self.stdout.flush()
        except BrokenPipeError:
            # Whoever read it has seen enough; Python would complain at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _source(options: dict[str, Any]) -> Source:
    times = options["since"], options["until"]
    of_combats = options["status"], options["character"]
    if not options["audit"]:
        return history(Selection(*times, *of_combats))
    if of_combats != (None, None):
        raise CommandError("--status and --character are of combats, not of the audit")
    return audit_log(*times)


def _write(path: Path, told: Iterable[str]) -> int:
    part = path.with_name(f"{path.name}.part")
    count = 0
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            for line in told:
                file.write(line)
                count += 1
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _moment(text: str) -> datetime:
    """A date or a date and time, of TIME_ZONE where it names none."""
    try:
        found: date | datetime | None = parse_datetime(text) or parse_date(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    if found is None:
        raise ArgumentTypeError("write 2026-01-31 or 2026-01-31T18:00")
    if not isinstance(found, datetime):
        found = datetime.combine(found, time.min)
    return found if timezone.is_aware(found) else timezone.make_aware(found)
