"""How a file is brought in: in chunks, told of on the way, each line by itself.

Every line may be brought in again, so an import that was stopped is begun again, or
goes on with `--from-line`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from combat_history.management.world_files import Fault, Line, read

CHUNK = 500
MAX_TOLD = 100
"""Faults that are told one by one; the others are counted."""


class ImportCommand(BaseCommand, ABC):
    """A command that brings lines in. `bring` does it for a chunk of them."""

    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", type=Path, metavar="FILE", help=".csv, or JSON lines"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="check it all, write nothing"
        )
        parser.add_argument(
            "--from-line", type=int, default=1, metavar="N", help="go on with line N"
        )

    @abstractmethod
    def bring(self, lines: list[Line]) -> tuple[int, list[Fault]]:
        """How many are new, and what is wrong with the others that were not taken."""

    def handle(self, *args: Any, **options: Any) -> None:
        self._told = 0
        done = made = wrong = 0
        at = options["from_line"]
        try:
            for lines in _chunks(options["file"], at):
                with transaction.atomic():
                    new, faults = self.bring(lines)
                    transaction.set_rollback(options["dry_run"])
                done, made = done + len(lines), made + new
                wrong += len({fault.number for fault in faults})
                at = lines[-1].number + 1
                self._tell(faults)
                self._progress(done, wrong)
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']} cannot be read: {error}") from error
        except KeyboardInterrupt:
            raise CommandError(f"stopped; go on with --from-line {at}") from None
        self._end(done, made, wrong, options["dry_run"])

    def _tell(self, faults: list[Fault]) -> None:
        for fault in faults[: max(0, MAX_TOLD - self._told)]:
            self.stderr.write(str(fault))
        self._told += len(faults)

    def _progress(self, done: int, wrong: int) -> None:
        if self.stdout.isatty():
            self.stdout.write(f"\r{done:,} lines, {wrong:,} of them wrong", ending="")

    def _end(self, done: int, made: int, wrong: int, dry_run: bool) -> None:
        if self.stdout.isatty():
            self.stdout.write("")
        if self._told > MAX_TOLD:
            self.stderr.write(f"... and {self._told - MAX_TOLD:,} more faults")
        would = "would be " if dry_run else ""
        self.stdout.write(
            f"{done:,} lines: {made:,} {would}new, {done - made - wrong:,} known, "
            f"{wrong:,} wrong"
        )
        if wrong:
            raise CommandError(
                f"{wrong:,} lines are wrong; mend them and bring the file in again: "
                "what was taken stays as it is"
            )


def _chunks(file: Path, from_line: int) -> Iterator[list[Line]]:
    lines = (line for line in read(file) if line.number >= from_line)
    while chunk := list(islice(lines, CHUNK)):
        yield chunk
