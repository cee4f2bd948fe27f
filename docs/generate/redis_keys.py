"""docs/reference/redis-keys.md, from the one module that spells keys."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from docs.generate.markdown import code, prose, table, whole_page
from docs.generate.source import documented_constants
from persistence.contract import redis_keys as keys

ABOUT = """
Ids are written in canonical UUID form. `{…}` stands for an id. The engine and the
workers share these keys; `persistence/contract/redis_keys.py` alone spells them.
"""


def page() -> str:
    return whole_page("Redis keys", prose(ABOUT), *_parts())


def _parts() -> list[str]:
    named = dict(documented_constants(keys))
    spelled = {name: getattr(keys, name) for name in named}
    fixed = {name: key for name, key in spelled.items() if isinstance(key, str)}
    single = [(code(key), prose(named[name])) for name, key in fixed.items()]
    numbers = [
        (code(name), str(value), prose(named[name]))
        for name, value in spelled.items()
        if isinstance(value, int)
    ]
    patterns = [
        (code(_spell(function)), prose(function.__doc__)) for function in _functions()
    ]
    return [
        "## One of a kind",
        table(("name", "meaning"), single),
        "## One for each session, player or caller, and fields of hashes",
        table(("name", "meaning"), patterns),
        "## Lives and bounds",
        table(("constant", "value", "meaning"), numbers),
    ]


def _functions() -> list[Callable[..., str]]:
    found = inspect.getmembers(keys, inspect.isfunction)
    own = [function for _, function in found if function.__module__ == keys.__name__]
    return sorted(own, key=lambda function: function.__code__.co_firstlineno)


def _spell(function: Callable[..., str]) -> str:
    names = inspect.signature(function).parameters
    return function(*(f"{{{name}}}" for name in names))
