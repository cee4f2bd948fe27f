"""Lock and load what a batch may touch: everything the plan reads, and no more.

Characters are locked in id order; a character's lock guards all of its inventory, so
inventory rows are read without locks of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from persistence.contract.payload import Loot
from persistence.savers.combat import statements
from persistence.savers.combat.policy import (
    Amount,
    Rule,
    Rules,
    gains_of,
    room_of_day,
)
from persistence.savers.combat.rows import (
    MAX_PIECES,
    BalanceKey,
    BalanceRow,
    Catalogue,
    Cause,
    CharacterRow,
    Combat,
    ItemRow,
    Template,
    World,
)
from persistence.worker import sql

if TYPE_CHECKING:
    from psycopg import Cursor


def catalogue(cursor: Cursor[sql.Row], causes: Iterable[Cause]) -> Catalogue:
    """The templates that the loot of these names, by id or by name."""
    ids: set[str] = set()
    names: set[str] = set()
    for _, loot in _all_loot(causes):
        if loot.item_template_id is not None:
            ids.add(loot.item_template_id)
        elif loot.name is not None:
            names.add(loot.name)
    if not ids and not names:
        return Catalogue([])
    named = sorted(names)
    rows = sql.fetch(cursor, statements.LOAD_TEMPLATES, [sorted(ids), named, named])
    return Catalogue(Template(*row) for row in rows)


def locked_world(
    cursor: Cursor[sql.Row], causes: Sequence[Cause], catalogue: Catalogue
) -> World:
    """Lock every player of these, then read the rows they may change."""
    char_ids = {char_id for cause in causes for char_id in cause.asked()}
    # Before the items: without its owner's lock a row could change once it was read.
    characters = sql.fetch(
        cursor, statements.LOCK_CHARACTERS, [sql.array(sorted(char_ids))]
    )
    row_ids, stacks = _wanted_items(causes, catalogue)
    items = _items(cursor, row_ids, stacks)
    named = {
        (char_id, balance_id)
        for cause in causes
        for char_id, asked in cause.asked().items()
        for balance_id in asked.changes.balances
    }
    return World(
        (CharacterRow(*row) for row in characters), items, balances(cursor, named)
    )


def balances(
    cursor: Cursor[sql.Row], named: Iterable[BalanceKey]
) -> dict[BalanceKey, BalanceRow]:
    """Those in the catalogue, of characters that the caller has locked."""
    ordered = sorted(named)
    if not ordered:
        return {}
    parameters = sql.columns(ordered, frozenset({1}))
    rows = sql.fetch(cursor, statements.LOAD_BALANCES, parameters)
    return {(char_id, id_): BalanceRow(*row) for char_id, id_, *row in rows}


def reserved_ids(
    cursor: Cursor[sql.Row], causes: Iterable[Cause], catalogue: Catalogue
) -> Iterator[int]:
    """Ids for as many rows as loot can insert at most; gaps are harmless."""
    count = 0
    for _, loot in _all_loot(causes):
        # Unknown loot fails its combat, and needs no row.
        template = catalogue.find(loot)
        if template is not None:
            count += 1 if template.stackable else min(loot.qty, MAX_PIECES)
    if not count:
        return iter(())
    return iter(
        [row[0] for row in sql.fetch(cursor, statements.RESERVE_ITEM_IDS, [count])]
    )


def rules(
    cursor: Cursor[sql.Row], combats: Sequence[Combat], catalogue: Catalogue
) -> Rules:
    """The review rules that are on; of a day, with who may break one by now."""
    found = [Rule(*row) for row in sql.fetch(cursor, statements.LOAD_RULES, [])]
    if not found:
        return Rules()
    gains = {c.session_id: list(gains_of(c, catalogue)) for c in combats}
    gaining, room = room_of_day(found, chain.from_iterable(gains.values()))
    # Nobody gains what a rule of a day bounds: what was gained lately is not read.
    if not gaining:
        return Rules(found, gains)
    has_items = Amount.ITEMS in room
    lately = statements.LOAD_ALL_LATELY if has_items else statements.LOAD_LATELY
    limits = [room.get(amount) for amount in (Amount.XP, Amount.GOLD)]
    if has_items:
        limits.append(room[Amount.ITEMS])
    rows = sql.fetch(cursor, lately, [sql.array(sorted(gaining)), *limits])
    return Rules(found, gains, {(who, what, item): n for who, what, item, n in rows})


def _wanted_items(
    causes: Iterable[Cause], catalogue: Catalogue
) -> tuple[set[int], set[tuple[int, str]]]:
    """Rows named by id, and (character, template) of stacks to join or gear to wear."""
    row_ids: set[int] = set()
    stacks: set[tuple[int, str]] = set()
    for cause in causes:
        for char_id, asked in cause.asked().items():
            row_ids.update(e.inventory_id for e in asked.changes.items_consumed)
            for target in asked.changes.durability_loss:
                kind, _, name = target.partition(":")
                if kind == "item":
                    stacks.add((char_id, name))
                else:
                    row_ids.add(int(name))
    for char_id, loot in _all_loot(causes):
        template = catalogue.find(loot)
        # Every unstackable piece becomes a row of its own, whatever lies there.
        if template is not None and template.stackable:
            stacks.add((char_id, template.id))
    return row_ids, stacks


def _items(
    cursor: Cursor[sql.Row], row_ids: set[int], stacks: set[tuple[int, str]]
) -> list[ItemRow]:
    if not row_ids and not stacks:
        return []
    ordered = sorted(stacks)
    parameters = [
        sql.array(sorted(row_ids)),
        sql.array(char_id for char_id, _ in ordered),
        [template_id for _, template_id in ordered],
    ]
    return [
        ItemRow(*row) for row in sql.fetch(cursor, statements.LOAD_ITEMS, parameters)
    ]


def _all_loot(causes: Iterable[Cause]) -> Iterator[tuple[int, Loot]]:
    for cause in causes:
        for char_id, asked in cause.asked().items():
            for loot in asked.loot():
                yield char_id, loot
