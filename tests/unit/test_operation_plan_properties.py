"""What holds for operations and fights in any order, over shared characters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st

from persistence.contract.errors import DomainFailure
from persistence.contract.operate import Operation
from persistence.savers.combat.operation import Cause
from persistence.savers.combat.plan import plan_batch, plan_operation
from persistence.savers.combat.rows import Catalogue, Combat, Plan, World
from tests.unit.builders import CATALOGUE, FIRST_NEW_ID, HIDE, POTION, at
from tests.unit.strategies import (
    BOUNDED,
    DUST,
    FIGHTERS,
    KARMA,
    ROW_IDS,
    Tables,
    as_tables,
    batches,
    consumed,
    tables,
    worn,
)


@dataclass(frozen=True)
class Sums:
    """All that there is in a world, whoever has it."""

    gold: int
    xp: int
    pieces: Counter[str]
    named: Counter[str]


def sums(start: Tables) -> Sums:
    pieces: Counter[str] = Counter()
    for row in start.items:
        pieces[row.item_template_id] += row.quantity
    named: Counter[str] = Counter()
    for (_, id_), balance in start.balances.items():
        named[id_] += balance.amount
    return Sums(
        sum(row.gold for row in start.characters),
        sum(row.xp for row in start.characters),
        +pieces,
        named,
    )


def moved(plan: Plan) -> Sums:
    pieces: Counter[str] = Counter()
    for line in plan.ledger:
        for move in line.items:
            pieces[move["item_template_id"]] += move["delta"]
    named: Counter[str] = Counter()
    for line in plan.ledger:
        named.update({id_: one["delta"] for id_, one in (line.balances or {}).items()})
    return Sums(
        sum(line.gold_delta for line in plan.ledger),
        sum(line.xp_delta for line in plan.ledger),
        pieces,
        named,
    )


def together(before: Sums, change: Sums) -> Sums:
    pieces = Counter(before.pieces)
    pieces.update(change.pieces)
    named = Counter(before.named)
    named.update(change.named)
    return Sums(before.gold + change.gold, before.xp + change.xp, +pieces, named)


def changes(char_id: int) -> st.SearchStrategy[dict[str, Any]]:
    gained = st.sampled_from([HIDE.id, POTION.id, "sword_epic", "nothing"])
    return st.fixed_dictionaries(
        {
            "xp_gained": st.integers(0, 30),
            "gold_gained": st.integers(-20, 20),
            "balances": st.dictionaries(
                st.sampled_from([DUST, KARMA]), st.integers(-9, 9), max_size=1
            ),
            "items_consumed": st.lists(consumed(char_id), max_size=2),
            "durability_loss": worn(char_id),
            "items_gained": st.lists(
                st.builds(
                    lambda id_, qty: {"item_template_id": id_, "qty": qty},
                    gained,
                    st.integers(1, 3),
                ),
                max_size=2,
            ),
        }
    )


def operations() -> st.SearchStrategy[Cause]:
    asked = st.sets(st.sampled_from(FIGHTERS), min_size=1).flatmap(
        lambda ids: st.fixed_dictionaries({str(id_): changes(id_) for id_ in ids})
    )
    return st.builds(_cause, st.integers(1, 10**6), asked)


def _cause(number: int, asked: dict[str, Any]) -> Cause:
    operation = Operation.read(
        {"op_id": str(number), "reason": "any", "characters": asked}
    )
    return Cause(operation, UUID(int=1 << 100 | number), at(0))


def apply(step: list[Combat] | Cause, world: World, new_ids: count[int]) -> Plan:
    """What is refused leaves no plan."""
    if isinstance(step, list):
        return plan_batch(step, world, Catalogue(CATALOGUE), new_ids)
    try:
        plan = plan_operation(step, world, Catalogue(CATALOGUE), new_ids)
    except DomainFailure:
        return Plan()
    return Plan() if plan.discrepancies else plan


@given(start=tables(), steps=st.lists(operations() | batches(), max_size=6))
@BOUNDED
def test_what_there_is_changes_by_what_the_ledger_says(
    start: Tables, steps: list[list[Combat] | Cause]
) -> None:
    world, new_ids = start.world(), count(FIRST_NEW_ID)
    for step in steps:
        before = sums(as_tables(world))
        plan = apply(step, world, new_ids)
        assert sums(as_tables(world)) == together(before, moved(plan))
    after = as_tables(world)
    assert all(row.gold >= 0 for row in after.characters)
    assert all(row.quantity >= 0 for row in after.items)


@given(start=tables(), step=operations())
@BOUNDED
def test_an_operation_is_whole_or_nothing(start: Tables, step: Cause) -> None:
    world = start.world()
    plan = apply(step, world, count(FIRST_NEW_ID))

    if not plan.ledger:
        assert as_tables(world) == start
        return
    assert start.after(plan) == as_tables(world)
    asked = step.asked()
    assert {line.character_id for line in plan.ledger} == set(asked)
    for line in plan.ledger:
        wanted = asked[line.character_id].changes
        assert line.xp_delta == wanted.xp_gained
        assert line.gold_delta == wanted.gold_gained
        named = {id_: one["delta"] for id_, one in (line.balances or {}).items()}
        assert named == dict(wanted.balances)
        used = [-move["delta"] for move in line.items if move["kind"] == "consumed"]
        assert sum(used) == sum(one.qty for one in wanted.items_consumed)


@given(
    start=tables(),
    pair=st.permutations(FIGHTERS),
    gold=st.integers(0, 30),
    row_id=st.sampled_from(ROW_IDS),
    qty=st.integers(1, 3),
)
@BOUNDED
def test_a_trade_leaves_as_much_as_there_was(
    start: Tables, pair: list[int], gold: int, row_id: int, qty: int
) -> None:
    rows = {row.id: row for row in start.items}
    assume(row_id in rows)
    giver, taker, _ = pair
    given_ = {"item_template_id": rows[row_id].item_template_id, "qty": qty}
    used = {"inventory_id": row_id, "qty": qty}
    trade = {
        str(giver): {"gold_gained": -gold, "items_consumed": [used]},
        str(taker): {"gold_gained": gold, "items_gained": [given_]},
    }
    world = start.world()

    apply(_cause(1, trade), world, count(FIRST_NEW_ID))

    assert sums(as_tables(world)) == sums(start)
