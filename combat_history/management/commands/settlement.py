"""Pause, drain and resume the settlement of combats, and say how it stands.

Hand-offs are accepted meanwhile: the inbox keeps them.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from combat_history.actions import mode as control
from combat_history.reading import redis_clients
from persistence.contract import redis_keys
from persistence.worker import mode as settlement
from persistence.worker.mode import VERBS, Mode

MODES = {verb: mode for mode, verb in VERBS.items()}


class Command(BaseCommand):
    help = "Pause, drain or resume settlement; survives restarts of everything."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("verb", choices=[*MODES, "status"])
        parser.add_argument("--reason", default="", help="kept in the audit")

    def handle(self, *args: Any, **options: Any) -> None:
        verb, reason = options["verb"], options["reason"]
        if verb in MODES and not reason.strip():
            raise CommandError(f"settlement {verb} needs --reason", returncode=2)
        try:
            if verb in MODES:
                control.set_mode(
                    MODES[verb], actor=control.command_actor(), reason=reason
                )
            self.stdout.write(_state_in_words(settlement.read()))
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"PostgreSQL cannot be asked: {error}") from error
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from error
        try:
            self.stdout.write(_inbox())
        except redis.RedisError as error:
            raise CommandError(f"Redis cannot be asked: {error}") from error


def _state_in_words(state: settlement.State) -> str:
    if state.since is None:
        return state.mode
    since = state.since.isoformat(sep=" ", timespec="seconds")
    text = f"{state.mode} since {since} by {state.actor_name}: {state.reason}"
    if state.mode is Mode.DRAINING:
        text += "\nwhat was accepted before is settled, then it is paused"
    return text


def _inbox() -> str:
    client = redis_clients.client()
    waiting = client.zcard(redis_keys.INBOX)
    due = client.zcount(redis_keys.INBOX, "-inf", int(time.time() * 1000))
    return f"inbox: {waiting} waiting, {due} due"
