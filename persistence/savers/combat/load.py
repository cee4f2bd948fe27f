"""Lock and load what a batch may touch: everything the plan reads, and no more.

Characters are locked in id order; a character's lock guards all of its inventory, so
inventory rows are read without locks of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from persistence.contract.payload import Loot
from persistence.savers.combat import statements
from persistence.savers.combat.policy import Amount, Gains, Rule, Rules, Span
from persistence.savers.combat.rows import (
    MAX_PIECES,
    BalanceKey,
    BalanceRow,
    Catalogue,
    Cause,
    CharacterRow,
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
        template = catalogue.find(loot)
        if template is not None:
            count += 1 if template.stackable else min(loot.qty, MAX_PIECES)
    if not count:
        return iter(())
    return iter(
        [row[0] for row in sql.fetch(cursor, statements.RESERVE_ITEM_IDS, [count])]
    )


def rules(cursor: Cursor[sql.Row], world: World) -> Rules:
    """The review rules that are on; of a day, with what its players gained by now."""
    found = [Rule(*row) for row in sql.fetch(cursor, statements.LOAD_RULES, [])]
    of_day = {rule.amount for rule in found if rule.span == Span.DAY}
    ids = sql.array(sorted(world.characters))
    gained: Gains = Counter()
    if of_day & {Amount.XP, Amount.GOLD}:
        for char_id, xp, gold in sql.fetch(cursor, statements.LOAD_LATELY, [ids]):
            gained[char_id, Amount.XP, ""], gained[char_id, Amount.GOLD, ""] = xp, gold
    if Amount.ITEMS in of_day:
        for *key, pieces in sql.fetch(cursor, statements.LOAD_ITEMS_LATELY, [ids]):
            gained[key[0], Amount.ITEMS, key[1]] = pieces
    return Rules(found, gained)


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
