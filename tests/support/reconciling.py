"""A small world settled for real, and what `manage.py reconcile` says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID

from django.core.management import CommandError, call_command

from combat_history.models import CombatHistory
from persistence.contract.document import Document
from tests.support import documents, factories
from tests.support.documents import HERO, PELT, make_document, make_participant

ALLY, CLONE, MINER = 102, 103, 104
EMPTIED, AXE = 60, 61
DUST, KARMA = "dust", "karma"
SAMPLE, QUIET, REMOVAL, PENALTY, FAILED, LOOT, NAMED, UNKNOWN = (
    UUID(int=0x0192F3A4_5B6C_7D8E_9F01_000000000000 + number) for number in range(1, 9)
)
"""One fight of each ending; of NAMED balances, one short; UNKNOWN was not fought."""


def reconcile() -> dict[str, Any]:
    """What `--json` prints; the exit status must say the same."""
    out = StringIO()
    try:
        call_command("reconcile", "--json", stdout=out)
        status = 0
    except CommandError as error:
        status = error.returncode
    report: dict[str, Any] = json.loads(out.getvalue())
    assert report["clean"] == (not any(report["counts"].values()))
    assert status == (0 if report["clean"] else 3)
    return report


def found() -> dict[str, int]:
    """How many findings of which kind."""
    return {code: count for code, count in reconcile()["counts"].items() if count}


def used(inventory_id: int, qty: int, template_id: str | None = None) -> Document:
    entry: Document = {"inventory_id": inventory_id, "qty": qty}
    return {**entry, "item_template_id": template_id} if template_id else entry


def loot(template_id: str, qty: int = 1) -> Document:
    return {"item_template_id": template_id, "qty": qty}


def settle_each_ending(settle: Callable[..., None]) -> None:
    """Settle SAMPLE to NAMED in the small world; all but FAILED end as processed."""
    factories.add_character(ALLY, gold=30)
    factories.add_character(CLONE)
    factories.add_character(MINER)
    factories.add_template("bandage")
    factories.add_template("axe", stackable=False, max_durability=10)
    factories.add_balance(DUST)
    factories.add_balance(KARMA)
    factories.add_item(ALLY, "bandage", EMPTIED, quantity=3)
    factories.add_item(ALLY, "axe", AXE, is_equipped=True, durability=4)
    settle(
        documents.sample_document(session_id=SAMPLE),
        make_document({CLONE: make_participant(is_winner=False)}, session_id=QUIET),
        make_document(
            {ALLY: make_participant(items_consumed=[used(EMPTIED, 3)])},
            session_id=REMOVAL,
        ),
        make_document({ALLY: make_participant(gold_gained=-50)}, session_id=PENALTY),
        make_document(
            {HERO: make_participant(items_gained=[loot("unheard_of")])},
            session_id=FAILED,
        ),
        make_document(
            {HERO: make_participant(items_gained=[loot(PELT, 2)])}, session_id=LOOT
        ),
        make_document(
            {MINER: make_participant(balances={DUST: 5, KARMA: -3})}, session_id=NAMED
        ),
    )
    statuses = CombatHistory.objects.values_list("pk", "settlement_status")
    assert {pk for pk, status in statuses if status != "processed"} == {FAILED}
    assert len(statuses) == 7
