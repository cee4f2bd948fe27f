"""What is wrong with this installation, and what to do about it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from settlement_project.diagnosis import Finding, Severity, findings

STYLES = {
    Severity.NOTE: "note   ",
    Severity.WARNING: "warning",
    Severity.ERROR: "ERROR  ",
}


class Command(BaseCommand):
    help = "Say what is wrong with this installation and what to do; 1 if it is bad."
    # It makes them itself, and goes on behind a fault.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        found = sorted(findings(), key=lambda finding: -finding.severity)
        for finding in found:
            self._say(finding)
        errors = sum(finding.severity is Severity.ERROR for finding in found)
        if errors:
            raise CommandError(f"{errors} of {len(found)} findings are errors.")
        self.stdout.write("Nothing is wrong." if not found else "No errors.")

    def _say(self, finding: Finding) -> None:
        self.stdout.write(f"{STYLES[finding.severity]}  {finding.what}")
        self.stdout.write(f"         {finding.remedy}")
