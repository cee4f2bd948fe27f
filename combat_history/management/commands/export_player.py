"""Write everything that is held of a player as JSON lines, to standard output.

Look at it before it is given away: fight logs and rejected payloads name others, too.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from combat_history.actions import audit
from combat_history.actions.mode import command_actor
from combat_history.actions.player_data import lines
from combat_history.management.arguments import character
from combat_history.models import AuditEntry


class Command(BaseCommand):
    help = "Export everything held of a player, streamed, for the player to have."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("character_id", type=character)

    def handle(self, *args: Any, **options: Any) -> None:
        id_ = options["character_id"]
        try:
            AuditEntry.objects.create(
                actor_name=command_actor().name,
                verb="export",
                target_type="character",
                target_id=str(id_),
                outcome=audit.Outcome.DONE,
            )
            for line in lines(id_):
                self.stdout.write(line, ending="")
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"cannot export: {error}") from error
