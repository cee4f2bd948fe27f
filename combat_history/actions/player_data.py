"""Everything that is held of one player, as JSON lines; each says which record it is.

Of a combat or an operation it is the player's own part: what others did in it is
theirs. Rejected payloads and fight logs come whole, for nobody knows what in them is
whose.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import F, Model, QuerySet

from combat_history.models import (
    Character,
    CombatHistory,
    CombatParticipant,
    CombatReplay,
    CombatRevision,
    ExternalId,
    InventoryItem,
    LedgerLine,
    NamedBalance,
    ParkedOperation,
    RejectedPayload,
    ScenarioSession,
    SettlementDiscrepancy,
    Triage,
    operations_of,
)
from persistence.contract.fight_log import unpack

PAGE = 100
"""Rows in memory at a time."""

BY_CHARACTER: tuple[tuple[str, type[Model]], ...] = (
    ("external id", ExternalId),
    ("inventory", InventoryItem),
    ("named balance", NamedBalance),
    ("ledger line", LedgerLine),
    ("discrepancy", SettlementDiscrepancy),
    ("parked operation", ParkedOperation),
    ("scenario", ScenarioSession),
)


def lines(character_id: int) -> Iterator[str]:
    for kind, row in _rows(character_id):
        told = {"record": kind, **row}
        yield json.dumps(told, ensure_ascii=False, default=_plain) + "\n"


def _rows(character_id: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from (
        ("character", row) for row in Character.objects.filter(pk=character_id).values()
    )
    for kind, model in BY_CHARACTER:
        found = model._base_manager.filter(character_id=character_id)
        for row in _paged(found.order_by("pk").values()):
            yield kind, row
    notes = Triage.objects.filter(kind=Triage.Kind.PLAYER, target_id=str(character_id))
    yield from (("note of the team", row) for row in notes.values())
    yield from _operations(character_id)
    yield from _combats(character_id)
    rejected = RejectedPayload.objects.filter(participant_ids__contains=[character_id])
    for refused in _paged(rejected.order_by("pk").values()):
        yield "rejected payload", refused


def _operations(character_id: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    mine = f"characters__{character_id}"
    found = operations_of(character_id).order_by("applied_at", "pk")
    stored = ("op_id", "id", "reason", "caller", "applied_at", "undone_at")
    for row in _paged(
        found.values(
            *stored, asked=F(f"document__{mine}"), answered=F(f"answer__{mine}")
        )
    ):
        yield "operation", row


def _combats(character_id: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    keys = CombatParticipant.objects.filter(character_id=character_id)
    keys = keys.order_by("finished_at", "session_id")
    mine = f"participants__{character_id}"
    stored = ("session_id", "finished_at", "settlement_status", "compensated_at")
    for key in _paged(keys.values("session_id")):
        of_fight = {"session_id": key["session_id"]}
        history = CombatHistory.objects.filter(pk=key["session_id"])
        for row in history.values(
            *stored,
            meta=F("result_payload__meta"),
            own_part=F(f"result_payload__{mine}"),
        ):
            yield "combat", row
        revisions = CombatRevision.objects.filter(**of_fight)
        for row in revisions.values("revision", own_part=F(f"document__{mine}")):
            yield "corrected document", {**of_fight, **row}
        for fight_log in CombatReplay.objects.filter(**of_fight):
            yield "fight log", {**of_fight, "turns": unpack(bytes(fight_log.data))}


def _paged(rows: QuerySet[Any, Any]) -> Iterator[Any]:
    """By a server's cursor: nothing is held in memory but a page."""
    return rows.iterator(chunk_size=PAGE)


def _plain(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    return str(value)
