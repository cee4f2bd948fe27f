"""Prove from the tables that every processed combat is applied exactly once.

Exit status: 0 clean, 3 with findings, 1 where it could not be told.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from combat_history.management.reader import ends_with_its_reader
from combat_history.reconcile import Report, Result, reconcile

FINDINGS = 3
"""Exit status: it ran, and not all is well."""


class Command(BaseCommand):
    help = "Compare documents, ledger, balances and Redis. Writes nothing."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="machine-readable")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with ends_with_its_reader():
                report = reconcile()
        except (DatabaseError, InterfaceError, redis.RedisError) as error:
            raise CommandError(f"cannot reconcile: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict(), ensure_ascii=False))
        else:
            self._write(report)
        if report.count:
            raise CommandError(f"{report.count} findings", returncode=FINDINGS)

    def _write(self, report: Report) -> None:
        for result in report.results:
            outcome = f"{result.count} findings" if result.count else "ok"
            self.stdout.write(f"{outcome:>14}  {result.code:<25} {result.says}")
        for result in report.results:
            if result.count:
                self._write_findings(result)
        if not report.count:
            self.stdout.write("clean")

    def _write_findings(self, result: Result) -> None:
        self.stdout.write(f"\n{result.code}: {result.count} findings")
        for finding in result.findings:
            ids = " ".join(f"{name}={value}" for name, value in finding.ids.items())
            self.stdout.write(f"  {ids}: {finding.detail}")
        hidden = result.count - len(result.findings)
        if hidden:
            self.stdout.write(f"  … and {hidden} more")
