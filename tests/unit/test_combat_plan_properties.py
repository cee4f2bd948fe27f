"""What holds for every world and every batch of combats."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from persistence.contract.errors import DiscrepancyCode
from persistence.contract.payload import ParticipantResult
from persistence.savers.combat.rows import BalanceRow, Combat, ItemRow, Plan
from tests.unit.builders import (
    CATALOGUE,
    FIRST_NEW_ID,
    POTION,
    SWORD,
    character,
    item,
    participant,
)
from tests.unit.builders import combat as make_combat
from tests.unit.strategies import (
    BOUNDED,
    DUST,
    FIGHTERS,
    OUTSIDER,
    Tables,
    batches,
    planned,
    tables,
)


def order(combat: Combat) -> tuple[Any, ...]:
    return combat.finished_at, combat.session_id


def applied(combats: list[Combat], plan: Plan) -> list[Combat]:
    return [c for c in combats if c.session_id not in plan.failures]


def players(combats: list[Combat]) -> list[ParticipantResult]:
    return [part for c in combats for part in c.payload.players().values()]


def in_bag(row: ItemRow) -> bool:
    return row.slot is None and not row.is_equipped


def moves(plan: Plan) -> list[dict[str, Any]]:
    return [move for line in plan.ledger for move in line.items]


def without_new_ids(plan: Plan) -> str:
    """A plan as text in which new rows are numbered as they appear."""
    new_ids = {*plan.inserted, *(move["inventory_id"] for move in moves(plan))}
    text = repr(plan)
    for number, row_id in enumerate(sorted(i for i in new_ids if i >= FIRST_NEW_ID)):
        text = text.replace(f"id={row_id},", f"id=new{number},")
        text = text.replace(
            f"'inventory_id': {row_id},", f"'inventory_id': new{number},"
        )
        text = text.replace(f"'id': {row_id},", f"'id': new{number},")
        text = text.replace(f"{row_id}: ItemRow", f"new{number}: ItemRow")
    return text


@given(start=tables(), combats=batches())
@BOUNDED
def test_balances_change_by_exactly_what_the_ledger_says(
    start: Tables, combats: list[Combat]
) -> None:
    plan, end = planned(combats, start)

    balances = {row.id: (row.xp, row.gold) for row in start.characters}
    for line in plan.ledger:
        xp, gold = balances[line.character_id]
        balances[line.character_id] = (xp + line.xp_delta, gold + line.gold_delta)
        assert (line.xp_after, line.gold_after) == balances[line.character_id]
    assert balances == {row.id: (row.xp, row.gold) for row in end.characters}


@given(start=tables(), combats=batches())
@BOUNDED
def test_named_balances_change_by_exactly_what_the_ledger_says(
    start: Tables, combats: list[Combat]
) -> None:
    plan, end = planned(combats, start)

    amounts = {key: row.amount for key, row in start.balances.items()}
    for line in plan.ledger:
        for balance_id, move in (line.balances or {}).items():
            key = line.character_id, balance_id
            amounts[key] += move["delta"]
            assert move["after"] == amounts[key]
    assert amounts == {key: row.amount for key, row in end.balances.items()}
    moved = {(e.character_id, id_) for e in plan.ledger for id_ in e.balances or ()}
    assert plan.balances.keys() == moved


@given(start=tables(), combats=batches())
@BOUNDED
def test_no_named_balance_moves_further_out_of_its_bounds(
    start: Tables, combats: list[Combat]
) -> None:
    _, end = planned(combats, start)

    for key, (amount, floor, maximum) in end.balances.items():
        before = start.balances[key].amount
        assert min(before, floor) <= amount <= max(before, maximum)


@given(start=tables(), combats=batches())
@BOUNDED
def test_quantities_change_by_exactly_what_the_movements_say(
    start: Tables, combats: list[Combat]
) -> None:
    plan, end = planned(combats, start)

    quantities = {row.id: row.quantity for row in start.items}
    for line in plan.ledger:
        for move in line.items:
            row_id = move["inventory_id"]
            quantities[row_id] = quantities.get(row_id, 0) + move["delta"]
            assert move["after"] == quantities[row_id]
            if "image" in move:
                assert move["image"]["quantity"] == -move["delta"]
                assert quantities.pop(row_id) == 0
    assert quantities == {row.id: row.quantity for row in end.items}


@given(start=tables(), combats=batches())
@BOUNDED
def test_nothing_goes_below_zero_and_no_stack_ends_empty(
    start: Tables, combats: list[Combat]
) -> None:
    _, end = planned(combats, start)

    assert all(min(row.xp, row.gold, row.hp, row.energy) >= 0 for row in end.characters)
    assert all(row.durability is None or row.durability >= 0 for row in end.items)
    empty = {row.id for row in start.items if row.quantity == 0}
    assert all(row.quantity > 0 or row.id in empty for row in end.items)


@given(start=tables(), combats=batches())
@BOUNDED
def test_writing_the_plan_leads_where_the_plan_left_the_world(
    start: Tables, combats: list[Combat]
) -> None:
    plan, end = planned(combats, start)

    assert start.after(plan) == end


@given(start=tables(), combats=batches(wear=False))
@BOUNDED
def test_every_change_is_applied_or_listed_as_a_shortage(
    start: Tables, combats: list[Combat]
) -> None:
    plan, _ = planned(combats, start)

    gold = DiscrepancyCode.GOLD_SHORTAGE
    named: Counter[str] = Counter()
    for d in plan.discrepancies:
        if d.balance_id is not None:
            named[d.balance_id] += d.wanted - d.applied
    short = [d.wanted - d.applied for d in plan.discrepancies if not d.balance_id]
    short_gold = [d.wanted - d.applied for d in plan.discrepancies if d.code == gold]
    fought = players(applied(combats, plan))
    assert min([*short, *named.values()], default=1) > 0
    for player in fought:
        named.update(player.changes.balances)
    for line in plan.ledger:
        for balance_id, move in (line.balances or {}).items():
            named[balance_id] -= move["delta"]
    assert not any(named.values())
    assert sum(line.xp_delta for line in plan.ledger) == sum(
        player.changes.xp_gained for player in fought
    )
    assert sum(line.gold_delta for line in plan.ledger) == sum(short_gold) + sum(
        player.changes.gold_gained for player in fought
    )
    taken = -sum(move["delta"] for move in moves(plan) if move["kind"] == "consumed")
    assert taken + sum(short) - sum(short_gold) == sum(
        entry.qty for player in fought for entry in player.changes.items_consumed
    )


@given(start=tables(), combats=batches())
@BOUNDED
def test_every_player_gets_exactly_the_loot_of_his_combats(
    start: Tables, combats: list[Combat]
) -> None:
    plan, _ = planned(combats, start)

    names = {template.name: template.id for template in CATALOGUE}
    promised = Counter[tuple[int, str, str]]()
    for combat in applied(combats, plan):
        for char_id, part in combat.payload.players().items():
            for loot in part.loot():
                template_id = loot.item_template_id or names[loot.name or ""]
                kind = char_id, template_id, str(loot.properties or None)
                promised[kind] += loot.qty
    granted = Counter[tuple[int, str, str]]()
    for line in plan.ledger:
        for move in line.items:
            if move["kind"] == "gained":
                told = str(move.get("properties"))
                kind = line.character_id, move["item_template_id"], told
                granted[kind] += move["delta"]
    assert granted == promised


@given(start=tables(), combats=batches())
@BOUNDED
def test_only_what_the_document_names_is_used_up_or_worn(
    start: Tables, combats: list[Combat]
) -> None:
    plan, _ = planned(combats, start)

    by_session = {combat.session_id: combat.payload for combat in combats}
    for line in plan.ledger:
        changes = by_session[line.session_id].players()[line.character_id].changes
        for move in line.items:
            row_id, template_id = move["inventory_id"], move["item_template_id"]
            if move["kind"] == "consumed":
                assert any(
                    entry.inventory_id == row_id
                    and entry.item_template_id in (None, template_id)
                    for entry in changes.items_consumed
                )
            if move["kind"] == "worn":
                targets = {f"item:{template_id}", f"inventory:{row_id}"}
                assert targets & changes.durability_loss.keys()


@given(start=tables(), combats=batches())
@BOUNDED
def test_a_row_keeps_its_properties(start: Tables, combats: list[Combat]) -> None:
    plan, end = planned(combats, start)

    had = {row.id: row.properties for row in (*start.items, *plan.inserted.values())}
    assert all(row.properties == had[row.id] for row in end.items)
    for move in moves(plan):
        row_id = move["inventory_id"]
        assert move.get("properties") == had.get(row_id, move.get("properties"))


@given(start=tables(), combats=batches())
@BOUNDED
def test_every_player_of_a_settled_combat_has_one_ledger_line(
    start: Tables, combats: list[Combat]
) -> None:
    plan, _ = planned(combats, start)

    assert [(line.session_id, line.character_id) for line in plan.ledger] == [
        (combat.session_id, char_id)
        for combat in sorted(applied(combats, plan), key=order)
        for char_id in combat.payload.players()
    ]


@given(start=tables(), combats=batches(), data=st.data())
@BOUNDED
def test_one_batch_or_two_come_to_the_same(
    start: Tables, combats: list[Combat], data: st.DataObject
) -> None:
    ordered = sorted(combats, key=order)
    cut = data.draw(st.integers(0, len(ordered)))
    whole, end = planned(ordered, start)

    new_ids = count(FIRST_NEW_ID)
    first, _ = planned(ordered[:cut], start, new_ids)
    between = start.after(first)
    second, _ = planned(ordered[cut:], between, new_ids)

    assert between.after(second) == end
    assert first.ledger + second.ledger == whole.ledger
    assert first.discrepancies + second.discrepancies == whole.discrepancies
    assert set(first.failures) | set(second.failures) == set(whole.failures)


@given(start=tables(), combats=batches(), data=st.data())
@BOUNDED
def test_the_order_of_arrival_within_a_batch_does_not_matter(
    start: Tables, combats: list[Combat], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(combats))

    assert repr(planned(shuffled, start)) == repr(planned(combats, start))


@given(start=tables(), combats=batches())
@BOUNDED
def test_the_same_input_makes_the_same_plan(
    start: Tables, combats: list[Combat]
) -> None:
    assert repr(planned(combats, start)) == repr(planned(combats, start))


@given(start=tables(), combats=batches(), strict=st.booleans())
@BOUNDED
def test_a_failing_combat_leaves_no_trace(
    start: Tables, combats: list[Combat], strict: bool
) -> None:
    plan, end = planned(combats, start, fail_on_shortage=strict)
    assume(plan.failures)

    clean, clean_end = planned(applied(combats, plan), start, fail_on_shortage=strict)

    assert clean.failures == {}
    plan.failures.clear()
    assert without_new_ids(plan) == without_new_ids(clean)
    assert end.characters == clean_end.characters
    assert end.balances == clean_end.balances
    assert len(end.items) == len(clean_end.items)


@given(start=tables(), combats=batches())
@BOUNDED
def test_where_shortages_fail_no_settled_combat_has_one(
    start: Tables, combats: list[Combat]
) -> None:
    plan, _ = planned(combats, start, fail_on_shortage=True)

    assert plan.discrepancies == []


@given(start=tables(), combats=batches())
@BOUNDED
def test_nobody_else_and_nobody_elses_items_are_touched(
    start: Tables, combats: list[Combat]
) -> None:
    plan, end = planned(combats, start)

    fought = {
        char_id
        for combat in applied(combats, plan)
        for char_id in combat.payload.players()
    }
    assert OUTSIDER not in fought
    assert plan.characters.keys() == fought
    owner = {
        row.id: row.character_id for row in (*start.items, *plan.inserted.values())
    }
    for line in plan.ledger:
        for move in line.items:
            row_id = move["inventory_id"]
            assert owner.setdefault(row_id, line.character_id) == line.character_id
    bystanders = [row for row in start.items if row.character_id not in fought]
    assert bystanders == [row for row in end.items if row.character_id not in fought]


@given(start=tables(), combats=batches())
@BOUNDED
def test_loot_lands_in_the_bag_beside_no_other_stack(
    start: Tables, combats: list[Combat]
) -> None:
    plan, end = planned(combats, start)

    worn = {row.id: row.quantity for row in start.items if not in_bag(row)}
    assert all(row.quantity <= worn.get(row.id, row.quantity) for row in end.items)
    assert all(in_bag(row) for row in plan.inserted.values())
    stackable = {template.id for template in CATALOGUE if template.stackable}
    stacks = Counter(
        (row.character_id, row.item_template_id)
        for row in end.items
        if in_bag(row) and row.item_template_id in stackable and not row.properties
    )
    for row in plan.inserted.values():
        if not row.properties:
            assert stacks[row.character_id, row.item_template_id] <= 1


@st.composite
def covered_batches(draw: st.DrawFn) -> list[Combat]:
    """Combats that ask for no more than `RICH` has, in any order."""
    numbers = draw(st.lists(st.integers(1, 50), max_size=6, unique=True))
    consumed = st.integers(1, 3)

    def part(char_id: int) -> Any:
        return participant(
            xp_gained=draw(st.integers(0, 30)),
            gold_gained=draw(st.integers(-50, 50)),
            balances={DUST: draw(st.integers(-50, 50))},
            items_consumed=[{"inventory_id": char_id, "qty": draw(consumed)}],
            durability_loss={f"item:{SWORD.id}": draw(st.integers(0, 30))},
            loot_obtained=[
                {"name": draw(st.sampled_from(CATALOGUE)).name, "qty": draw(consumed)}
            ],
            state_snapshot={"hp": draw(st.integers(0, 99)), "energy": 5},
        )

    return [
        make_combat(
            number,
            {c: part(c) for c in draw(st.sets(st.sampled_from(FIGHTERS), min_size=1))},
            seconds=draw(st.integers(0, 3)),
        )
        for number in numbers
    ]


RICH = Tables(
    tuple(character(char_id, gold=1000) for char_id in FIGHTERS),
    (
        *(item(c, POTION, character_id=c, quantity=100) for c in FIGHTERS),
        *(item(c + 10, SWORD, character_id=c, is_equipped=True) for c in FIGHTERS),
    ),
    {(c, DUST): BalanceRow(1000, 0, 10**6) for c in FIGHTERS},
)


def holdings(rows: Tables) -> Counter[tuple[int, str]]:
    held = Counter[tuple[int, str]]()
    for row in rows.items:
        held[row.character_id, row.item_template_id] += row.quantity
    return held


@given(combats=covered_batches(), data=st.data())
@BOUNDED
def test_without_shortages_combats_may_be_settled_in_any_order(
    combats: list[Combat], data: st.DataObject
) -> None:
    plan, together = planned(combats, RICH)
    assert (plan.discrepancies, plan.failures) == ([], {})

    one_by_one = RICH
    new_ids = count(FIRST_NEW_ID)
    for combat in data.draw(st.permutations(combats)):
        alone, _ = planned([combat], one_by_one, new_ids)
        one_by_one = one_by_one.after(alone)

    assert one_by_one.characters == together.characters
    assert one_by_one.balances == together.balances
    assert holdings(one_by_one) == holdings(together)
    wear = [row.durability for row in one_by_one.items if row.is_equipped]
    assert wear == [row.durability for row in together.items if row.is_equipped]
