"""What undoing combats comes to, for every world and whatever was fought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, replace
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from combat_history.actions.undo_plan import (
    Balance,
    Undo,
    plan_undo,
)
from persistence.savers.combat.rows import (
    BalanceRow,
    Catalogue,
    Combat,
    Discrepancy,
    ItemRow,
    LedgerEntry,
    Plan,
)
from persistence.savers.inventory.bag import Item
from tests.unit.builders import CATALOGUE, FIRST_NEW_ID
from tests.unit.strategies import BOUNDED, FIGHTERS, Tables, batches, planned, tables

TEMPLATES = Catalogue(CATALOGUE).by_id
FIRST_UNDONE_ID = 5000
MOST_ROUNDS = 20


def sound(start: Tables) -> Tables:
    """As the game keeps its tables: no empty rows, no two items in one slot.

    And no amount below its floor: what a fight gave there could not be taken back.
    """
    rows = [
        replace(row, slot=f"{row.slot}_{row.id}" if row.slot else None)
        for row in start.items
        if row.quantity
    ]
    named = {
        key: row._replace(amount=max(row.amount, row.floor))
        for key, row in start.balances.items()
    }
    return Tables(start.characters, tuple(rows), named)


def undo(
    lines: Iterable[LedgerEntry], now: Tables, new_ids: count[int]
) -> tuple[Undo, Tables]:
    """The counter-lines of one combat, and the tables after them."""
    plan = plan_undo(
        lines,
        {
            row.id: Balance(row.xp, row.gold, named_of(now, row.id))
            for row in now.characters
        },
        map(as_item, now.items),
        TEMPLATES,
        new_ids,
    )
    after = {
        row.id: replace(row, xp=plan.after[row.id].xp, gold=plan.after[row.id].gold)
        if row.id in plan.after
        else row
        for row in now.characters
    }
    rows = {row.id: row for row in now.items}
    for change in plan.updated:
        # All that the statement writes.
        rows[change.id] = replace(
            rows[change.id], quantity=change.quantity, durability=change.durability
        )
    for row_id in plan.removed:
        del rows[row_id]
    assert not rows.keys() & {row.id for row in plan.inserted}
    rows |= {row.id: as_row(row) for row in plan.inserted}
    return plan, Tables(
        tuple(after[key] for key in sorted(after)),
        tuple(rows[key] for key in sorted(rows)),
        {
            **now.balances,
            **{
                (char_id, id_): row
                for char_id, balance in plan.after.items()
                for id_, row in balance.named.items()
            },
        },
    )


def named_of(now: Tables, char_id: int) -> dict[str, BalanceRow]:
    return {id_: row for (owner, id_), row in now.balances.items() if owner == char_id}


def as_item(row: ItemRow) -> Item:
    return Item(*(getattr(row, field.name) for field in fields(ItemRow)))


def as_row(item: Item) -> ItemRow:
    return ItemRow(*(getattr(item, field.name) for field in fields(ItemRow)))


def by_combat(plan: Plan) -> list[list[LedgerEntry]]:
    """The lines of every settled combat, in the order of their settlement."""
    lines: dict[Any, list[LedgerEntry]] = {}
    for line in plan.ledger:
        lines.setdefault(line.session_id, []).append(line)
    return list(lines.values())


def balances(now: Tables) -> dict[int, tuple[int, int]]:
    return {row.id: (row.xp, row.gold) for row in now.characters}


def totals(now: Tables) -> Counter[tuple[int, str]]:
    pieces: Counter[tuple[int, str]] = Counter()
    for row in now.items:
        pieces[row.character_id, row.item_template_id] += row.quantity
    return +pieces


@st.composite
def lived(draw: st.DrawFn, now: Tables) -> Tables:
    """What else may become of it: spent, sold, given away, put on, drunk up."""
    rows = []
    for row in now.items:
        match draw(st.sampled_from(["kept", "kept", "sold", "given", "on", "drunk"])):
            case "sold":
                continue
            case "given":
                row = replace(row, character_id=draw(st.sampled_from(FIGHTERS)))
            case "on":
                row = replace(row, is_equipped=True, slot=f"on_{row.id}")
            case "drunk":
                row = replace(row, quantity=1)
        rows.append(row)
    spent = st.sampled_from([1, 1, 2, 100])
    people = [
        replace(char, gold=char.gold // draw(spent), xp=char.xp // draw(spent))
        for char in now.characters
    ]
    named = {
        key: row._replace(amount=row.amount // draw(spent))
        for key, row in now.balances.items()
    }
    return Tables(tuple(people), tuple(rows), named)


@given(start=tables().map(sound), combats=batches())
@BOUNDED
def test_undone_in_reverse_order_everything_is_as_it_was(
    start: Tables, combats: list[Combat]
) -> None:
    plan, now = planned(combats, start)
    new_ids = count(FIRST_UNDONE_ID)
    for lines in reversed(by_combat(plan)):
        undone, now = undo(lines, now, new_ids)
        assert undone.shortages == []

    assert balances(now) == balances(start)
    assert now.balances == start.balances
    assert now.items == start.items


@given(start=tables().map(sound), combats=batches(), data=st.data())
@BOUNDED
def test_undone_in_any_order_totals_are_as_they_were_but_for_shortages(
    start: Tables, combats: list[Combat], data: st.DataObject
) -> None:
    plan, now = planned(combats, start)
    new_ids = count(FIRST_UNDONE_ID)
    is_short = False
    for lines in data.draw(st.permutations(by_combat(plan))):
        undone, now = undo(lines, now, new_ids)
        is_short |= bool(undone.shortages)

    if not is_short:
        assert totals(now) == totals(start)
        assert balances(now) == balances(start)
        assert now.balances == start.balances


@given(start=tables().map(sound), combats=batches(), data=st.data())
@BOUNDED
def test_each_undoing_moves_what_was_moved_less_what_it_calls_short(
    start: Tables, combats: list[Combat], data: st.DataObject
) -> None:
    plan, now = planned(combats, start)
    now = data.draw(lived(now))
    new_ids = count(FIRST_UNDONE_ID)
    for lines in data.draw(st.permutations(by_combat(plan))):
        pieces, owned = totals(now), balances(now)
        amounts = {key: row.amount for key, row in now.balances.items()}
        undone, now = undo(lines, now, new_ids)

        missing: Counter[tuple[int, str | None]] = Counter()
        short_named: dict[tuple[int, str], Discrepancy] = {}
        for short in undone.shortages:
            what = short.item_template_id or str(short.code)
            if short.balance_id is not None:
                short_named[short.character_id, short.balance_id] = short
            elif short.code != "undo_wear_short":
                missing[short.character_id, what] += short.wanted - short.applied
        for line in lines:
            player = line.character_id
            xp, gold = owned[player]
            xp -= line.xp_delta - missing.pop((player, "undo_xp_short"), 0)
            short_gold = missing.pop((player, "undo_gold_short"), 0)
            gold -= line.gold_delta - (
                short_gold if line.gold_delta > 0 else -short_gold
            )
            assert balances(now)[player] == (xp, gold)
            for id_, move in (line.balances or {}).items():
                lack = short_named.pop((player, id_), None)
                back = abs(move["delta"]) if lack is None else lack.applied
                amounts[player, id_] -= back if move["delta"] > 0 else -back
            for movement in line.items:
                pieces[player, movement["item_template_id"]] -= movement["delta"]
        assert totals(now) == +(pieces + missing)
        assert amounts == {key: row.amount for key, row in now.balances.items()}
        assert not short_named


@given(start=tables().map(sound), combats=batches(), data=st.data())
@BOUNDED
def test_nothing_goes_below_zero_and_only_players_of_the_combat_are_touched(
    start: Tables, combats: list[Combat], data: st.DataObject
) -> None:
    plan, now = planned(combats, start)
    now = data.draw(lived(now))
    new_ids = count(FIRST_UNDONE_ID)
    for lines in data.draw(st.permutations(by_combat(plan))):
        before = now
        undone, now = undo(lines, now, new_ids)
        assert all(row.xp >= 0 and row.gold >= 0 for row in now.characters)
        assert all(row.quantity > 0 for row in now.items)
        players = {line.character_id for line in lines}
        assert others(now, players) == others(before, players)
        for short in undone.shortages:
            assert 0 <= short.applied < short.wanted


def others(now: Tables, players: set[int]) -> tuple[list[Any], list[Any]]:
    return (
        [row for row in now.characters if row.id not in players],
        [row for row in now.items if row.character_id not in players],
    )


@given(start=tables().map(sound), combats=batches(), data=st.data())
@BOUNDED
def test_movements_add_up_as_reconcile_adds_them(
    start: Tables, combats: list[Combat], data: st.DataObject
) -> None:
    """Every row holds its opening quantity plus its movements, in a closed chain."""
    opened = replace_openings(start)
    plan, now = planned(combats, opened)
    lines = list(plan.ledger)
    new_ids = count(FIRST_UNDONE_ID)
    for combat in data.draw(st.permutations(by_combat(plan))):
        undone, now = undo(combat, now, new_ids)
        lines += undone.lines

    moved: Counter[int] = Counter()
    last: dict[int, dict[str, Any]] = {}
    for line in lines:
        for movement in line.items:
            row_id = movement["inventory_id"]
            if row_id in last:
                assert movement["after"] == last[row_id]["after"] + movement["delta"]
            moved[row_id] += movement["delta"]
            last[row_id] = movement
    for row in now.items:
        assert row.quantity == row.opening_quantity + moved[row.id]
        assert "image" not in last.get(row.id, {})
    for row_id in last.keys() - {row.id for row in now.items}:
        assert last[row_id]["image"]["opening_quantity"] + moved[row_id] == 0


def replace_openings(start: Tables) -> Tables:
    rows = [replace(row, opening_quantity=row.quantity) for row in start.items]
    return replace(start, items=tuple(rows))


def test_worlds_and_batches_do_make_shortages_and_removals() -> None:
    """The properties above would say little of combats that move nothing."""
    seen: Counter[str] = Counter()

    @BOUNDED
    @given(start=tables().map(sound), combats=batches(), data=st.data())
    def collect(start: Tables, combats: list[Combat], data: st.DataObject) -> None:
        plan, now = planned(combats, start)
        now = data.draw(lived(now))
        new_ids = count(FIRST_UNDONE_ID)
        for lines in by_combat(plan):
            undone, now = undo(lines, now, new_ids)
            seen.update(str(short.code) for short in undone.shortages)
            seen["returned"] += any(row.id < FIRST_NEW_ID for row in undone.inserted)
            seen["made"] += any(row.id >= FIRST_UNDONE_ID for row in undone.inserted)
            seen["removed"] += bool(undone.removed)

    wanted = {
        "undo_item_short",
        "undo_gold_short",
        "undo_xp_short",
        "undo_wear_short",
        "undo_balance_short",
        "returned",
        "made",
        "removed",
    }
    # Some come about once in a hundred: what is drawn differs from run to run.
    for _ in range(MOST_ROUNDS):
        collect()
        if wanted <= (found := {what for what, times in seen.items() if times}):
            break
    assert wanted <= found
