"""The pure half of settling combats and operations: (these, locked rows) -> changes.

No I/O, no clock, no globals: the worker, a dry run and the tests call the same
functions. Combats see each other's effects in (finished_at, session_id) order; a combat
that fails leaves no trace in the plan. What one does to a character is in `draft`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from persistence.contract.errors import DomainFailure, FailureCode
from persistence.savers.combat.draft import Draft
from persistence.savers.combat.fingerprint import fingerprint
from persistence.savers.combat.policy import Rules
from persistence.savers.combat.rows import Catalogue, Cause, Combat, Plan, World


def plan_batch(
    combats: Iterable[Combat],
    world: World,
    catalogue: Catalogue,
    new_ids: Iterator[int],
    *,
    rules: Rules | None = None,
    fail_on_shortage: bool = False,
) -> Plan:
    """Plan what `combats` do to `world`, which is brought forward in place.

    `new_ids` yields an inventory id for every row the plan inserts.
    """
    plan, rules = Plan(), rules or Rules()
    for combat in sorted(combats, key=lambda c: (c.finished_at, c.session_id)):
        draft = Draft(combat, world, catalogue, new_ids)
        strict = combat.fail_on_shortage
        try:
            _check_state(draft, combat)
            gains = rules.check(combat)
            draft.apply()
            if draft.discrepancies and (fail_on_shortage if strict is None else strict):
                raise draft.shortage()
        except DomainFailure as failure:
            plan.failures[combat.session_id] = failure
        else:
            draft.merge_into(plan)
            rules.add(gains)
    return plan


def plan_operation(
    operation: Cause, world: World, catalogue: Catalogue, new_ids: Iterator[int]
) -> Plan:
    """Plan what is applied as a whole or not at all. Raises DomainFailure.

    Where something is not there, the plan holds discrepancies and nothing else.
    """
    draft = Draft(operation, world, catalogue, new_ids)
    draft.apply()
    if draft.discrepancies:
        return Plan(discrepancies=draft.discrepancies)
    plan = Plan()
    draft.merge_into(plan)
    return plan


def _check_state(draft: Draft, combat: Combat) -> None:
    """Refuse what is not what a person saw when they asked for it."""
    if combat.fingerprint is None:
        return
    now = fingerprint(combat.payload, combat.revision, draft.world, draft.catalogue)
    if now != combat.fingerprint:
        raise draft.failure(
            FailureCode.STATE_MOVED,
            "balances, items or templates changed since the preview",
        )
