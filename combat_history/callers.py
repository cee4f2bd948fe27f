"""Callers of the HTTP API: what a token may do, and how one is written down.

Django is not asked: the settings read tokens of the environment by this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256

KEY_DIGITS = 16
"""Digits of a token's digest that name its caller in Redis: enough to tell callers
apart, too few to be the token."""

MAX_NAME_LENGTH = 60

NAME = re.compile(rf"[a-z0-9][a-z0-9_.-]{{0,{MAX_NAME_LENGTH - 1}}}")

_SCOPED = re.compile(
    r"(?P<name>[^=]*)=(?P<scopes>[a-z]+:[a-z]+(?:\+[a-z]+:[a-z]+)*)=(?P<secret>.*)"
)


class Scope(StrEnum):
    """What a token may do; one that names none may do nothing."""

    RESULTS_READ = "results:read"
    """Ask what became of fights, and for what characters have and had."""
    COMBATS_SUBMIT = "combats:submit"
    """Hand over results, which gives XP, gold and items, and play: start fights, use
    items, switch modes."""
    BELTS_RESERVE = "belts:reserve"
    """Reserve the belts of a fight that goes on."""
    OPERATIONS_WRITE = "operations:write"
    CHARACTERS_WRITE = "characters:write"
    """Register characters, with what they come with, and keep the catalogue."""
    EVENTS_READ = "events:read"
    """Read what became true of fights and operations, whoever took part."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds a token. `key`: their name in Redis keys."""

    name: str
    scopes: frozenset[str]
    digest: str

    @property
    def key(self) -> str:
        return self.digest[:KEY_DIGITS]


@dataclass(frozen=True, slots=True)
class EnvironmentToken:
    """`name=scope+scope=secret`, or a bare secret, as all were written before 0.3."""

    caller: Caller
    secret: str
    is_bare: bool


def digest_of(secret: str) -> str:
    """What is kept of a secret. It is drawn at random, 256 bits of it: nothing can be
    guessed that a slow hash would slow down."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def checked_name(name: str) -> str:
    """Raises ValueError for what is no name of a token."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"a token's name has 1 to {MAX_NAME_LENGTH} of a-z, 0-9, _ . and -"
        )
    return name


def checked_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Raises ValueError where there is none, or one that nobody knows."""
    found = frozenset(map(str, scopes))
    unknown = sorted(found - set(Scope))
    if unknown or not found:
        told = f"unknown scope {unknown[0]}" if unknown else "no scope"
        raise ValueError(f"{told}; there are {', '.join(Scope)}")
    return found


def read_environment(tokens: Iterable[str]) -> list[EnvironmentToken]:
    """Tokens as the environment has them, in its order.

    A bare secret may read results and nothing else: it was written before tokens had
    scopes, and most of them are bots'. Raises ValueError with the place of the token,
    and without its secret.
    """
    found = []
    for place, text in enumerate(tokens, 1):
        try:
            found.append(_read(text, place))
        except ValueError as error:
            raise ValueError(f"token {place}: {error}") from None
    names = [token.caller.name for token in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two tokens are named {name}")
    return found


@lru_cache(maxsize=4)
def environment_callers(tokens: tuple[str, ...]) -> dict[str, Caller]:
    """By digest."""
    return {token.caller.digest: token.caller for token in read_environment(tokens)}


def _read(text: str, place: int) -> EnvironmentToken:
    match = _SCOPED.fullmatch(text)
    if match is None:
        scopes = frozenset({str(Scope.RESULTS_READ)})
        name, secret = f"environment-{place}", text
    else:
        name = checked_name(match["name"])
        scopes = checked_scopes(match["scopes"].split("+"))
        secret = match["secret"]
    caller = Caller(name, scopes, digest_of(secret))
    return EnvironmentToken(caller, secret, is_bare=match is None)
