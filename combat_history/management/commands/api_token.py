"""Tokens of the HTTP API: make, list, rotate and revoke. A secret is printed once."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from combat_history.actions import api_tokens
from combat_history.actions.mode import command_actor
from combat_history.callers import Scope
from combat_history.models import ApiToken


class Command(BaseCommand):
    help = "Make, list, rotate or revoke a token of the HTTP API."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="all of them, also the revoked")
        make = verbs.add_parser("make", help="prints the secret, which is kept nowhere")
        make.add_argument(
            "--scope",
            action="append",
            required=True,
            choices=list(map(str, Scope)),
            help="what it may do; several times for several",
        )
        rotate = verbs.add_parser("rotate", help="prints a new secret for the same")
        revoke = verbs.add_parser("revoke", help="for ever")
        for acting in (make, rotate, revoke):
            acting.add_argument("name")
            acting.add_argument("--reason", required=True, help="kept in the audit")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            told = self._act(options)
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from error
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"PostgreSQL cannot be asked: {error}") from error
        self.stdout.write(told)

    def _act(self, options: dict[str, Any]) -> str:
        if options["verb"] == "list":
            return "\n".join(map(_line, ApiToken.objects.order_by("name")))
        name = options["name"]
        why = {"actor": command_actor(), "reason": options["reason"]}
        if options["verb"] == "make":
            return api_tokens.make(name, options["scope"], **why)
        if options["verb"] == "rotate":
            return api_tokens.rotate(name, **why)
        api_tokens.revoke(name, **why)
        return f"{name} is revoked"


def _line(token: ApiToken) -> str:
    scopes = "+".join(token.scopes)
    used = f"used {_when(token.last_used_at)}" if token.last_used_at else "never used"
    state = f"revoked {_when(token.revoked_at)}" if token.revoked_at else used
    return f"{token.name}  {scopes}  made {_when(token.created_at)}  {state}"


def _when(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")
