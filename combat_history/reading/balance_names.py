"""What players call the named balances, in their language.

A small catalogue, kept for a minute: a look-up that a tombstone answers is not to ask
PostgreSQL for words.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from django.db import Error
from django.utils.translation import get_language

from combat_history.models import BalanceTemplate

logger = logging.getLogger(__name__)

KEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Read:
    """Russian and English names by id, as they were read."""

    at: float = 0.0
    names: dict[str, tuple[str, str]] = field(default_factory=dict)

    def has(self, ids: Collection[str]) -> bool:
        is_fresh = time.monotonic() - self.at < KEEP_SECONDS
        return is_fresh and self.names.keys() >= set(ids)


class _Memory:
    last = _Read()


def names(ids: Collection[str]) -> dict[str, str]:
    """In the active language; an id without a name stands for itself.

    Asks PostgreSQL at most once.
    """
    known = _Memory.last
    if ids and not known.has(ids):
        known = _read() or known
    is_english = (get_language() or "").startswith("en")
    return {id_: _shown(known.names.get(id_), is_english) or id_ for id_ in ids}


def _shown(told: tuple[str, str] | None, is_english: bool) -> str:
    russian, english = told or ("", "")
    return english if is_english and english else russian


def _read() -> _Read | None:
    rows = BalanceTemplate.objects.values_list("id", "name", "name_en")
    try:
        found = {id_: (name, name_en) for id_, name, name_en in rows}
    except Error as error:
        logger.warning("the names of balances cannot be read", exc_info=error)
        return None
    _Memory.last = _Read(time.monotonic(), found)
    return _Memory.last
