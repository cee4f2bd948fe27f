"""The fights of a player, newest first, in keyset pages.

A page costs the same wherever it lies, and a fight that is recorded meanwhile moves
none of the others: it is new on the first page, or in its place by time.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import F

from combat_history.api.problems import bad_parameter
from combat_history.api.schemas import CombatEntry, CombatPage
from combat_history.models import (
    CombatHistory,
    CombatParticipant,
    settled_amounts,
    standing_document,
)
from combat_history.reading.history_row import moves_of
from combat_history.reading.lookup import credit_of
from combat_history.reading.outcomes import outcome_of

DEFAULT_LIMIT = 20
MAX_LIMIT = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_CURSOR = struct.Struct(">q16s")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last fight of a page: the next page begins below it."""

    finished_at: datetime
    session_id: UUID

    def __str__(self) -> str:
        # Whole microseconds: a float would not come back as the same time.
        microseconds = (self.finished_at - _EPOCH) // _MICROSECOND
        packed = _CURSOR.pack(microseconds, self.session_id.bytes)
        return base64.urlsafe_b64encode(packed).decode("ascii")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises a 400 problem for what `str` did not make."""
        try:
            packed = base64.b64decode(text.encode("ascii"), b"-_", validate=True)
            microseconds, id_ = _CURSOR.unpack(packed)
        except (UnicodeEncodeError, binascii.Error, struct.error):
            raise bad_parameter("cursor", "is not one of ours") from None
        return cls(_moment(microseconds), UUID(bytes=id_))


def _moment(microseconds: int) -> datetime:
    """What lies beyond all time is before every fight, or after it."""
    try:
        return _EPOCH + microseconds * _MICROSECOND
    except OverflowError:
        return _LAST if microseconds > 0 else _FIRST


def combats(char_id: int, limit: int, cursor: Cursor | None, path: str) -> CombatPage:
    """One page; `path` is the address that the next page's query is added to."""
    keys = CombatParticipant.objects.filter(character_id=char_id)
    if cursor is not None:
        # A comparison of whole keys, which is one range of the index.
        keys = keys.filter(pk__lt=(char_id, cursor.finished_at, cursor.session_id))
    # One more than asked for tells whether there is a next page.
    found = [
        Cursor(*key)
        for key in keys.order_by("-finished_at", "-session_id").values_list(
            "finished_at", "session_id"
        )[: limit + 1]
    ]
    page = found[:limit]
    next_page = None
    if len(found) > limit:
        next_page = f"{path}?{urlencode({'limit': limit, 'cursor': page[-1]})}"
    return CombatPage(items=_entries(char_id, page), next=next_page)


def _entries(char_id: int, page: list[Cursor]) -> list[CombatEntry]:
    """The player's part of each document: the rest would only be read to be dropped."""
    rows: Any = (
        CombatHistory.objects.filter(pk__in=[key.session_id for key in page])
        .annotate(standing=standing_document())
        .annotate(
            meta=F("standing__meta"), mine=F(f"standing__participants__{char_id}")
        )
        .values_list(
            "session_id",
            "settlement_status",
            "compensated_at",
            "meta",
            "mine",
            settled_amounts(),
        )
    )
    by_id = {row[0]: row[1:] for row in rows}
    return [
        _entry(char_id, key, *by_id[key.session_id])
        for key in page
        # A fight that somebody deleted by hand is none.
        if key.session_id in by_id
    ]


def _entry(
    char_id: int,
    key: Cursor,
    status: str,
    compensated_at: datetime | None,
    meta: Any,
    mine: Any,
    moved: Any,
) -> CombatEntry:
    document = {
        "session_id": str(key.session_id),
        "meta": meta,
        "participants": {str(char_id): mine},
    }
    return CombatEntry(
        session_id=key.session_id,
        finished_at=key.finished_at,
        credit=credit_of(status, is_undone=compensated_at is not None),
        outcome=outcome_of(document, char_id, status, moves_of(moved)),
    )
