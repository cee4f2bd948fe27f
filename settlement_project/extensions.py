"""What a game adds to this system: its Django apps, Savers and hooks, by settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from persistence.protocols import OWN_NAME
from settlement_project.env import Environment

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

Paths = list[str]
"""Dotted, of classes that are imported when they are needed."""


def read(env: Environment) -> tuple[list[str], Mapping[str, str], Paths]:
    """Apps, Savers by scope, and hooks."""
    # Django apps of the game, comma-separated, for the tables of its own.
    apps = env.names("SETTLEMENT_APPS", [])
    # Savers of the game's own scopes, each `game_<name>=package.module.Class`,
    # comma-separated: docs/extend.md.
    savers = dict(_savers(env, env.names("SETTLEMENT_SAVERS", [])))
    # Hooks of the game, each `package.module.Class`, comma-separated: they write in the
    # transaction that settles, applies or undoes. docs/extend.md.
    hooks = env.names("SETTLEMENT_HOOKS", [])
    for path in (*savers.values(), *hooks):
        if not _PATH.fullmatch(path):
            env.problem(f"{path!r} is no dotted path of a class")
    return apps, savers, hooks


def _savers(env: Environment, named: list[str]) -> Iterator[tuple[str, str]]:
    for one in named:
        scope, _, path = one.partition("=")
        if not re.fullmatch(OWN_NAME, scope):
            env.problem(f"SETTLEMENT_SAVERS: {scope!r} does not begin with game_")
        yield scope, path
