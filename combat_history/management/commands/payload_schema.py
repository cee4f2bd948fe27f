"""Print the JSON Schema of the combat result, for the engine's developers."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand

from persistence.contract.payload_schema import payload_schema


class Command(BaseCommand):
    help = "Print the JSON Schema of the combat result payload."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps(payload_schema(), indent=2, ensure_ascii=False))
