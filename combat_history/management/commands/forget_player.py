"""Forget a player: names and texts go, the ledger and every balance stay.

Says what there is, and does nothing without --yes. Irreversible: a backup is the only
place where the texts still are.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from combat_history.actions import audit
from combat_history.actions.forget import Held, forget, held
from combat_history.actions.mode import command_actor
from combat_history.management.arguments import character
from combat_history.models import AuditEntry


class Command(BaseCommand):
    help = "Make a player's name and texts unreadable; the ledger stays whole."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("character_id", type=character)
        parser.add_argument("--yes", action="store_true", help="do it, for ever")
        parser.add_argument("--reason", default="", help="kept in the audit")

    def handle(self, *args: Any, **options: Any) -> None:
        id_ = options["character_id"]
        try:
            found = held(id_)
            if not options["yes"]:
                self.stdout.write(f"{_words(found)}\nNothing was changed: add --yes.")
                return
            self._forget(id_, found, audit.checked_reason(options["reason"]))
        except ValueError as error:
            raise CommandError(f"--reason: {error}", returncode=2) from error
        except (DatabaseError, InterfaceError, redis.RedisError) as error:
            raise CommandError(f"ended early, run it again: {error}") from error
        if found.waiting:
            raise CommandError(
                f"{found.waiting} combats wait for a decision and were left alone: "
                "settle or void them, then run this again"
            )

    def _forget(self, id_: int, found: Held, reason: str) -> None:
        done, outcome = 0, audit.Outcome.FAILED
        try:
            for count in forget(id_):
                done += count
            outcome = audit.Outcome.DONE
        finally:
            AuditEntry.objects.create(
                actor_name=command_actor().name,
                verb="forget",
                target_type="character",
                target_id=str(id_),
                reason=reason,
                outcome=outcome,
                detail=f"{done} combats, {found.rejected} rejected payloads",
            )
        self.stdout.write(f"{_words(found)}\n{done} combats redacted.")


def _words(found: Held) -> str:
    is_known = "no such character" if found.name is None else "a character"
    return (
        f"{is_known}, {found.combats} combats to redact, {found.rejected} rejected "
        f"payloads, {found.waiting} combats that wait"
    )
