"""Judge a combat result as the hand-off would, without recording anything.

Exit status: 0 it would be accepted, 1 it would not, 2 it could not be read.
"""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from persistence.contract.document import parse_document
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.payload import player_ids
from persistence.engine.handoff import checked

REFUSED, UNREADABLE = 1, 2

ADVICE = (
    (r"^Field required", "add the field"),
    (
        r"^Extra inputs",
        "correct the spelling or leave it out: a reward must not get lost",
    ),
    (r"session id", "send the id of the fight in one of these forms"),
    (r"valid integer", "write a whole number: no quotes, no decimal point, not null"),
    (r"valid boolean", "write true or false"),
    (r"valid string", "write text in quotes"),
    (r"valid (list|array)", "write a JSON array"),
    (r"valid dictionary|must be an object|JSON object", "write a JSON object"),
    (r"item:.*inventory:", "name the target item:<template id> or inventory:<row id>"),
    (r"greater|less|at least|at most", "keep to the bound, or settle it as two fights"),
    (r"wrong unit", "send Unix seconds"),
    (r"stands twice", "write each key of an object once"),
    (r"too deeply", "write it flatter"),
    (r"is no player", "name the player by the character id in plain digits"),
    (r"NUL|\\x00|surrogate", "take these characters out before sending"),
    (r"NaN", "write a finite number"),
    (r"not readable as JSON", "send JSON text in UTF-8"),
)
"""(pattern of the message, what to do): the first that fits."""

OTHERWISE = "compare with the output of payload_schema"


class Command(BaseCommand):
    help = "Check a combat result payload against the contract; record nothing."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="JSON file, - for stdin")
        parser.add_argument("--json", action="store_true", help="machine-readable")

    def handle(self, *args: Any, **options: Any) -> None:
        raw = _read(options["file"])
        try:
            accepted = _accepted(raw)
        except PayloadInvalid as error:
            self._write_faults(error, as_json=options["json"])
            raise CommandError(_count(error.errors), returncode=REFUSED) from None
        if options["json"]:
            self.stdout.write(json.dumps({"ok": True, **accepted}))
            return
        players = ", ".join(map(str, accepted["players"])) or "none"
        self.stdout.write(
            f"OK: combat {accepted['session_id']}\n"
            f"players  {players}\n"
            f"sha256   {accepted['sha256']}\n"
            f"size     {accepted['bytes']} bytes"
        )

    def _write_faults(self, error: PayloadInvalid, *, as_json: bool) -> None:
        faults = [
            {**fault, "advice": _advice(error.code, fault["message"])}
            for fault in error.errors
        ]
        if as_json:
            refusal = {"ok": False, "code": error.code, "faults": faults}
            self.stdout.write(json.dumps(refusal, ensure_ascii=False))
            return
        for fault in faults:
            self.stdout.write(
                f"{fault['path'] or 'payload'}: {fault['message']}\n"
                f"    -> {fault['advice']}"
            )


def _read(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        detail = f"{name} cannot be read: {error.strerror}"
        raise CommandError(detail, returncode=UNREADABLE) from error


def _accepted(raw: bytes) -> dict[str, Any]:
    handoff = checked(raw, settings.SETTLEMENT_MAX_DOCUMENT_BYTES)
    return {
        "session_id": str(handoff.session_id),
        "players": player_ids(parse_document(raw)),
        "sha256": handoff.sha256,
        "bytes": len(handoff.raw),
    }


def _advice(code: str, message: str) -> str:
    if code == FailureCode.TOO_LARGE:
        return "shorten the fight log, or send it compressed"
    for pattern, advice in ADVICE:
        if re.search(pattern, message):
            return advice
    return OTHERWISE


def _count(faults: list[dict[str, str]]) -> str:
    return "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
