"""The verdict: the story against tables, Redis, HTTP and the system's own audit."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from tests.storm import http
from tests.storm.bot import Doubt
from tests.storm.story import AMNESIA, MENDED_SECONDS, Story
from tests.support.ledger_oracle import Oracle

SAMPLE = 1000
"""Fights that are asked for once more in the end, beside all that an admin touched."""

SAYS = {"processed": "credited", "failed": "under_review", "voided": "cancelled"}


def untrue(story: Story, doubts: list[Doubt]) -> list[Doubt]:
    """Doubts that no fault of their moment explains.

    Unknown is what nobody knows: between the loss of all that Redis held and the
    engine's next calls. A fight that runs is known to Redis and to its engine alone:
    one that was left may be forgotten for ever, once both have been struck.
    """
    return [doubt for doubt in doubts if not _is_allowed(story, doubt)]


def _is_allowed(story: Story, doubt: Doubt) -> bool:
    if doubt.what not in ("unknown", "not finished"):
        return False
    is_of_a_loss = story.happened(AMNESIA, doubt.at - MENDED_SECONDS, doubt.at + 2)
    return is_of_a_loss or story.may_be_forgotten(UUID(doubt.sid))


def findings(story: Story, oracle: Oracle, address: str) -> Iterator[str]:
    """Everything that is not as the story says."""
    rows = oracle.rows(story.journal)
    story.add_forced(rows)
    yield from story.findings
    yield from oracle.violations(story.journal)
    yield from _operations(story, oracle)
    yield from _travels(story, oracle)
    yield from _broken(story, oracle)
    yield from _answers(story, address)


def belts_held(oracle: Oracle) -> list[str]:
    rows = oracle.read(
        "SELECT id, reserved_session_id FROM inventory "
        "WHERE reserved_session_id IS NOT NULL"
    )
    return [f"item {r['id']} is held for {r['reserved_session_id']}" for r in rows]


def _operations(story: Story, oracle: Oracle) -> Iterator[str]:
    applied = Counter(
        (int(key[1]), key[2])
        for row in oracle.read(
            "SELECT key FROM applied_operations WHERE scope = 'inventory'"
        )
        if len(key := row["key"].split(":", 2)) == 3
    )
    parked = {
        (row["character_id"], row["op_id"]): row["code"]
        for row in oracle.read(
            "SELECT character_id, op_id, code FROM parked_operations "
            "WHERE scope = 'inventory'"
        )
    }
    for key, code in story.operations.expected.items():
        if code is None and applied[key] != 1:
            is_told = "accepted" if key in story.operations.answered else "asked for"
            yield f"operation {key} was {is_told}, is {parked.get(key, 'LOST')}"
        elif code is not None and parked.get(key) != code:
            yield f"operation {key} is parked as {parked.get(key)}, not as {code}"


def _travels(story: Story, oracle: Oracle) -> Iterator[str]:
    saved = {
        str(row["session_id"]): row
        for row in oracle.read(
            "SELECT session_id, progress ->> 'at' AS at, closed_at "
            "FROM scenario_sessions"
        )
    }
    for line in story.travels:
        row = saved.get(line["sid"])
        if row is None or row["at"] != line["progress"] or row["closed_at"] is None:
            yield f"journey {line['sid']} of {line['char']} is {row}"


def _broken(story: Story, oracle: Oracle) -> Iterator[str]:
    for row in oracle.read(
        "SELECT session_id FROM combat_history WHERE session_id = ANY (%s)",
        [story.broken],
    ):
        yield f"{row['session_id']} broke the contract and has a row"


def _answers(story: Story, address: str) -> Iterator[str]:
    """What a player is told now, when all is over."""
    journal = story.journal
    touched = journal.voided | journal.undone | journal.standing.keys()
    everything = sorted(journal.accepted, key=str)
    sample = random.Random(1).sample(everything, min(SAMPLE, len(everything)))
    for sid in {*sample, *(touched & journal.accepted)}:
        char_id = next(iter(journal.offered[sid].shares))
        status, body = http.ask(
            address, f"/api/combats/{sid}/result?char_id={char_id}&lang=en"
        )
        told = body.get("credit") if status == 200 else status
        if told != _credit(story, sid):
            yield f"{sid}: players are told {told}, not {_credit(story, sid)}"


def _credit(story: Story, sid: UUID) -> str:
    if sid in story.journal.undone:
        return "reversed"
    return SAYS[story.journal.status(sid)]


def audit_findings(output: str) -> list[str]:
    """Of `manage.py reconcile --json`."""
    found = json.loads(output)["findings"]
    return [f"reconcile {f['code']} {f['ids']}: {f['detail']}" for f in found]
