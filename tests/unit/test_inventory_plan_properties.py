"""What holds for every inventory and every run of operations."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from persistence.savers.inventory.bag import Item
from tests.support.documents import op
from tests.unit.builders import CATALOGUE, FIRST_NEW_ID, HIDE, POTION, SWORD
from tests.unit.inventories import (
    OTHER,
    OWNER,
    Document,
    Inventory,
    inventory,
    row,
)
from tests.unit.strategies import BOUNDED

FIGHT = UUID(int=7)
NAMES = [f"o{number}" for number in range(8)]
TEMPLATES = [POTION.id, HIDE.id, SWORD.id, "unheard_of"]
SLOTS = ["belt_1", "belt_2", "main_hand"]


def inventories() -> st.SearchStrategy[Inventory]:
    template = st.sampled_from([POTION] * 4 + [HIDE, SWORD])

    def make(number: int) -> st.SearchStrategy[Item]:
        return st.builds(
            lambda template, qty, slot, owner, held: row(
                number,
                template,
                quantity=qty,
                opening_quantity=qty,
                character_id=owner,
                is_equipped=slot is not None,
                slot=slot,
                reserved_session_id=held,
            ),
            template,
            st.integers(1, 6),
            st.sampled_from([None, None, f"slot_{number}", *SLOTS[:1]]),
            st.sampled_from([OWNER] * 5 + [OTHER]),
            st.sampled_from([None] * 5 + [FIGHT]),
        )

    return st.tuples(*(make(number) for number in range(1, 6))).map(
        lambda rows: inventory(*rows)
    )


def operations() -> st.SearchStrategy[list[Any]]:
    """Runs with few rows, few names and few templates, so that much collides."""
    return st.lists(st.sampled_from(NAMES).flatmap(_operation), max_size=14)


@cache
def _operation(name: str) -> st.SearchStrategy[Any]:
    qty = st.integers(1, 6)
    template = st.sampled_from(TEMPLATES)
    slot = st.sampled_from(SLOTS)
    a_row: st.SearchStrategy[Any] = st.one_of(
        st.integers(1, 6),
        st.integers(FIRST_NEW_ID, FIRST_NEW_ID + 2),
        st.sampled_from(NAMES).map(lambda n: f"op:{n}"),
    )

    def make(kind: str, **rest: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
        return st.fixed_dictionaries(
            {"op_id": st.just(name), "op": st.just(kind), **rest}
        )

    return st.one_of(
        make("add", item_template_id=template, qty=qty),
        make("remove", item_template_id=template, qty=qty),
        make("remove", inventory_id=a_row, qty=qty),
        make("split", inventory_id=a_row, qty=qty),
        make("merge", inventory_id=a_row, into=a_row),
        make("equip", inventory_id=a_row, slot=slot),
        make("unequip", inventory_id=a_row),
        make("move", inventory_id=a_row, slot=slot),
        make("set_durability", inventory_id=a_row, durability=st.integers(0, 90)),
        make("burn", inventory_id=a_row, item_template_id=template),
        st.just(b"no operation"),
    )


def state(found: Inventory) -> tuple[Any, ...]:
    return found.rows, found.applied, found.parked, found.movements


def worn(rows: Iterable[Item]) -> Counter[str | None]:
    """How many of the owner's rows are in each slot."""
    return Counter(r.slot for r in rows if r.is_equipped and r.character_id == OWNER)


def parked_in(found: Inventory, element: Any) -> bool:
    return any(p.operation == element for p in found.parked.values())


def applied_in(found: Inventory, elements: list[Any]) -> list[Document]:
    """Those of a run that took effect, in order; each once."""
    done = []
    for element in elements:
        if isinstance(element, dict) and element["op_id"] in found.applied:
            is_it = not parked_in(found, element) and element not in done
            if is_it:
                done.append(element)
    return done


@given(start=inventories(), run=operations())
@BOUNDED
def test_pieces_come_and_go_only_by_add_and_remove(
    start: Inventory, run: list[Any]
) -> None:
    expected = start.pieces()
    start.save(*run)
    for element in applied_in(start, run):
        sign = {"add": 1, "remove": -1}.get(element["op"], 0)
        if sign and "item_template_id" in element:
            expected[element["item_template_id"]] += sign * element["qty"]
        elif sign:
            (template,) = {
                m["item_template_id"]
                for m in start.movements
                if m["op_id"] == element["op_id"]
            }
            expected[template] -= element["qty"]
    assert start.pieces() == +expected


@given(start=inventories(), run=operations())
@BOUNDED
def test_every_row_is_what_its_movements_add_up_to(
    start: Inventory, run: list[Any]
) -> None:
    quantities = {r.id: r.quantity for r in start.rows.values()}
    start.save(*run)
    for move in start.movements:
        row_id = move["inventory_id"]
        quantities[row_id] = quantities.get(row_id, 0) + move["delta"]
        assert quantities[row_id] == move["after"] >= 0
        assert ("image" in move) == (move["after"] == 0)
    left = {row_id: qty for row_id, qty in quantities.items() if qty}
    assert left == {r.id: r.quantity for r in start.rows.values()}


@given(start=inventories(), run=operations())
@BOUNDED
def test_what_is_anothers_or_held_by_a_fight_stays_where_it_is(
    start: Inventory, run: list[Any]
) -> None:
    before = copy.deepcopy(start.rows)
    start.save(*run)
    for row_id, kept in before.items():
        if kept.character_id != OWNER:
            assert start.rows[row_id] == kept
        elif kept.reserved_session_id is not None:
            now = start.rows[row_id]
            assert (now.slot, now.is_equipped) == (kept.slot, kept.is_equipped)
            assert now.quantity >= kept.quantity
    doubled = worn(before.values())
    assert all(
        n <= max(1, doubled[slot]) for slot, n in worn(start.rows.values()).items()
    )


@given(start=inventories(), run=operations(), cuts=st.sets(st.integers(0, 12)))
@BOUNDED
def test_it_does_not_matter_how_the_list_is_split_into_saves(
    start: Inventory, run: list[Any], cuts: set[int]
) -> None:
    other = copy.deepcopy(start)
    start.save(*run)
    places = [0, *sorted(cuts), len(run)]
    for begin, end in itertools.pairwise(places):
        other.save(*run[begin:end])
    assert state(other) == state(start)


@given(start=inventories(), run=operations(), again=st.data())
@BOUNDED
def test_whatever_is_delivered_again_changes_nothing(
    start: Inventory, run: list[Any], again: st.DataObject
) -> None:
    start.save(*run)
    before = copy.deepcopy(state(start))
    if run:
        repeated = again.draw(st.lists(st.sampled_from(run)))
        plan = start.save(*repeated)
        assert set(plan.counts) <= {"seen"}
    assert state(start) == before


@given(start=inventories(), run=operations())
@BOUNDED
def test_what_was_parked_left_no_trace_in_the_inventory(
    start: Inventory, run: list[Any]
) -> None:
    other = copy.deepcopy(start)
    start.save(*run)
    other.save(*applied_in(start, run))
    assert other.parked == {}
    assert (other.rows, other.movements) == (start.rows, start.movements)


def names(found: Inventory, document: Document) -> set[Any]:
    """The rows that a document names, by all their names."""
    rows: set[Any] = set()
    for key in ("inventory_id", "into"):
        if (reference := document.get(key)) is None:
            continue
        rows.add(reference)
        made = found.applied.get(str(reference).removeprefix("op:"))
        if made is not None and isinstance(reference, str):
            rows.add(made.inventory_id)
    return rows


def needs(found: Inventory, later: Document, culprit: str) -> bool:
    document = found.parked[culprit].operation
    if not isinstance(document, dict):
        return False
    shared = names(found, later) & (names(found, document) | {f"op:{culprit}"})
    is_taken = later["op"] == "remove" and "item_template_id" in later
    is_brought = document["op"] != "remove" and is_taken
    return bool(shared - {None}) or (
        is_brought and document.get("item_template_id") == later.get("item_template_id")
    )


@given(start=inventories(), run=operations())
@BOUNDED
def test_one_waits_only_for_one_that_it_needs(start: Inventory, run: list[Any]) -> None:
    for element in run:
        start.save(element)
    keys = list(start.parked)
    for place, (key, entry) in enumerate(start.parked.items()):
        assert (entry.code == "blocked") == (entry.blocked_by is not None)
        if entry.blocked_by is not None:
            assert entry.blocked_by in keys[:place]
            assert needs(start, entry.operation, entry.blocked_by), key


@given(start=inventories(), run=operations())
@BOUNDED
def test_nothing_passes_one_that_holds_its_row(
    start: Inventory, run: list[Any]
) -> None:
    for element in run:
        waiting = [p for p in start.parked.values() if isinstance(p.operation, dict)]
        before = set(start.applied)
        start.save(element)
        if set(start.applied) == before:
            continue
        for entry in waiting:
            held = names(start, entry.operation) | {f"op:{entry.op_id}"}
            assert not names(start, element) & (held - {None})


@given(start=inventories(), run=operations())
@BOUNDED
def test_replays_of_all_that_waits_keep_every_promise(
    start: Inventory, run: list[Any]
) -> None:
    start.templates = {t.id: t for t in CATALOGUE}
    start.save(*run)
    start.templates = {**start.templates, "unheard_of": HIDE}
    for entry in start.rows.values():
        entry.reserved_session_id = None
    applied, others = dict(start.applied), copy.deepcopy(start.rows)
    start.request(*start.codes())
    plan = start.save()
    assert start.applied.items() >= applied.items()
    assert not any(p.is_requested for p in start.parked.values() if not p.resolution)
    resolved = [p for p in start.parked.values() if p.resolution == "applied"]
    assert len(resolved) == plan.counts["retried"] == plan.counts["applied"]
    for row_id, kept in others.items():
        if kept.character_id != OWNER:
            assert start.rows[row_id] == kept


def test_a_refusal_in_the_midst_of_a_template_takes_nothing() -> None:
    found = inventory(row(1), row(2, reserved_session_id=FIGHT))
    found.save(op("a", "remove", item_template_id=POTION.id, qty=8))
    assert found.codes() == {"a": "item_reserved"}
    assert found.pieces() == {POTION.id: 10}
