"""What a call of the engine does, step by step: the same for both kinds of caller.

A generator yields what it needs of Redis, and is sent the answer; who runs it (`line`)
waits for that asynchronously or not.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from persistence.engine.calls import Call

_Told = TypeVar("_Told")

MAX_TRIES = 3
"""How often a call is made again that Redis answers by what happened meanwhile."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Answered by an `Answer`. A strict call is not executed where Redis has lost some
    of what it told before."""

    call: Call
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Answered by whether something came to the list, within a quarter of the bound."""

    key: str


Steps = Generator[Ask | Wait, Any, _Told]
