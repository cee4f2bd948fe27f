"""Random documents, worlds and batches of combats.

A world has three characters who fight, and an outsider who never does but owns items;
ids of missing rows and characters are drawn too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import count, permutations, product
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from persistence.contract.document import Document
from persistence.savers.combat.plan import plan_batch
from persistence.savers.combat.rows import (
    BalanceKey,
    BalanceRow,
    Catalogue,
    CharacterRow,
    Combat,
    ItemRow,
    Plan,
    World,
)
from tests.support.examples import examples
from tests.unit.builders import (
    CATALOGUE,
    FIRST_NEW_ID,
    HIDE,
    POTION,
    SWORD,
    at,
    character,
    combat,
    item,
    participant,
    session,
)

BOUNDED = settings(
    max_examples=examples(25),
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

FIGHTERS = (101, 102, 103)
OUTSIDER = 109
NOBODY = 999
ROW_IDS = range(1, 10)
MISSING_ROW = 500


def json_values() -> st.SearchStrategy[Any]:
    """Anything JSON can say and PostgreSQL can store."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
    )
    return st.recursive(
        leaves,
        lambda children: (
            st.lists(children, max_size=4)
            | st.dictionaries(st.text(), children, max_size=4)
        ),
        max_leaves=12,
    )


SLOPPY_KEYS = (
    *("007", "+7", " 7", "7\n", "0", "101.0", "1e2", "0x65", "1_000", "1,000", "1'0"),
    *("１０１", "٠١", "१०१", "²", "½", "−7", "- 7", "-7.0", "\u200b7", "7\u00a0"),
)
"""What reads as a number, and is no character id."""


def number_like_keys() -> st.SearchStrategy[str]:
    """Keys made of what numbers are made of, and of little else."""
    parts = "0123456789eExXabfo+-−., _'\u00a0\u200b\n٠१１²½Ⅷ五go:"
    return st.text(st.sampled_from(parts), max_size=6) | st.sampled_from(SLOPPY_KEYS)


def gifts() -> st.SearchStrategy[Any]:
    """What an AI may carry as its changes: mostly nothing, in one form or another."""
    nothing: st.SearchStrategy[Any] = st.sampled_from([None, 0, 0.0, "", False, [], {}])
    something: st.SearchStrategy[Any] = st.sampled_from(
        [5, -5, 0.5, "0", True, [0], {"gold": 5}]
    )
    value = nothing | nothing | nothing | something
    inner = st.dictionaries(st.sampled_from(["xp_gained", "goldGained"]), value)
    return value | inner | st.dictionaries(st.just("durability_loss"), inner)


def typed_values() -> st.SearchStrategy[Any]:
    """What Python writes in a document, and JSON has another form for."""
    return (
        st.uuids()
        | st.datetimes()
        | st.dates()
        | st.times()
        | st.decimals(allow_nan=False, allow_infinity=False, places=2)
        | st.integers(-(10**6), 10**6).map(Decimal)
        | st.text().map(str.encode)
        | st.tuples(st.integers(), st.text())
        | st.dictionaries(st.integers(0, 9), st.uuids(), max_size=3)
    )


def nested(depth: int, inside: Any, kinds: str) -> Any:
    """`inside` that deep in lists and objects, as `kinds` ("[" and "{") alternate."""
    found = inside
    for level in range(depth):
        found = [found] if kinds[level % len(kinds)] == "[" else {"a": found}
    return found


def deep_values(least: int, most: int) -> st.SearchStrategy[Any]:
    """Nesting around the bound and far beyond it, harmless or not at its bottom."""
    return st.builds(
        nested,
        st.integers(least, most),
        st.sampled_from([1, "x", "nul\x00", "\ud800", math.nan, math.inf, []]),
        st.text(st.sampled_from("[{"), min_size=1, max_size=3),
    )


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows as PostgreSQL holds them; every plan starts from a copy."""

    characters: tuple[CharacterRow, ...]
    items: tuple[ItemRow, ...]
    balances: Mapping[BalanceKey, BalanceRow] = field(default_factory=dict)

    def world(self) -> World:
        return World(
            copy.deepcopy(self.characters), copy.deepcopy(self.items), self.balances
        )

    def after(self, plan: Plan) -> Tables:
        """The tables once the statements of a combat have written the plan."""
        characters = {row.id: row for row in self.characters} | plan.characters
        items = {row.id: copy.copy(row) for row in self.items}
        for row_id, row in plan.updated.items():
            items[row_id].quantity = row.quantity
            items[row_id].durability = row.durability
        for row_id in plan.removed:
            del items[row_id]
        # One statement each, in any order: no row may be in two of them.
        assert not plan.updated.keys() & plan.removed
        assert not items.keys() & plan.inserted.keys()
        items |= plan.inserted
        return Tables(
            tuple(copy.copy(characters[key]) for key in sorted(characters)),
            tuple(copy.copy(items[key]) for key in sorted(items)),
            {**self.balances, **plan.balances},
        )


def as_tables(world: World) -> Tables:
    """Where a plan left its world."""
    return Tables(
        tuple(world.characters[key] for key in sorted(world.characters)),
        tuple(world.items[key] for key in sorted(world.items)),
        world.balances,
    )


def planned(
    combats: list[Combat],
    tables: Tables,
    new_ids: count[int] | None = None,
    *,
    fail_on_shortage: bool = False,
) -> tuple[Plan, Tables]:
    """The plan of a batch and the tables after it."""
    world = tables.world()
    plan = plan_batch(
        combats,
        world,
        Catalogue(CATALOGUE),
        count(FIRST_NEW_ID) if new_ids is None else new_ids,
        fail_on_shortage=fail_on_shortage,
    )
    return plan, as_tables(world)


# One draw a row or an entry, out of all its forms: drawing field by field costs most
# of an example's time.


def own_rows(char_id: int) -> tuple[int, ...]:
    """Row ids that are mostly this fighter's."""
    return tuple(row_id for row_id in ROW_IDS if FIGHTERS[row_id % 3] == char_id)


@cache
def items(row_id: int) -> st.SearchStrategy[ItemRow | None]:
    """A row, mostly of the fighter it belongs to; seldom there is none."""
    owner = FIGHTERS[row_id % 3]
    forms = [
        item(
            row_id,
            template,
            character_id=char_id,
            quantity=quantity if template.stackable else 1,
            is_equipped=is_equipped,
            slot=slot,
            durability=durability,
            properties={"roll": number % 2} if number % 7 == 3 else None,
        )
        for number, (template, char_id, quantity, is_equipped, slot, durability) in (
            enumerate(
                product(
                    (POTION, *CATALOGUE),
                    (*(owner,) * 6, *FIGHTERS, OUTSIDER),
                    (1, 0, 2, 4, 6),
                    (False, True),
                    (None, None, "belt_1"),
                    (None, 0, 3, 80),
                )
            )
        )
    ]
    return st.sampled_from([*forms, *[None] * (len(forms) // 9)])


@cache
def characters(char_id: int) -> st.SearchStrategy[CharacterRow]:
    return st.sampled_from(
        [
            character(
                char_id, xp=xp, gold=gold, vitals_at=vitals_at, vitals_session_id=by
            )
            for xp, gold, vitals_at, by in product(
                (0, 500, 501, 502, 2**63 - 20),
                (0, 7, 20, 60),
                (None, at(0), at(2)),
                (None, session(3)),
            )
        ]
    )


DUST, KARMA = "dust", "rating:karma"
"""Named balances: one as gold is, one that goes below nothing and is soon full."""

BALANCES = st.fixed_dictionaries(
    {
        **{
            (char_id, DUST): st.sampled_from([0, 3, 90]).map(
                lambda amount: BalanceRow(amount, 0, 10**6)
            )
            for char_id in (*FIGHTERS, OUTSIDER)
        },
        # -60: its bounds were drawn tighter since.
        **{
            (char_id, KARMA): st.sampled_from([0, -18, 25, -60]).map(
                lambda amount: BalanceRow(amount, -20, 40)
            )
            for char_id in (*FIGHTERS, OUTSIDER)
        },
    }
)


def tables() -> st.SearchStrategy[Tables]:
    return st.builds(
        lambda people, things, named: Tables(
            people, tuple(filter(None, things)), named
        ),
        st.tuples(*map(characters, (*FIGHTERS, OUTSIDER))),
        st.tuples(*map(items, ROW_IDS)),
        BALANCES,
    )


@cache
def consumed(char_id: int) -> st.SearchStrategy[Document]:
    forms = product(
        (*own_rows(char_id) * 6, *ROW_IDS, MISSING_ROW),
        (None, None, POTION.id, HIDE.id),
        range(1, 6),
    )
    return st.sampled_from(
        [{"inventory_id": i, "item_template_id": t, "qty": qty} for i, t, qty in forms]
    )


@cache
def worn(char_id: int) -> st.SearchStrategy[dict[str, int]]:
    targets = [
        *(f"item:{template.id}" for template in CATALOGUE),
        *(f"inventory:{row_id}" for row_id in (*own_rows(char_id), 1, MISSING_ROW)),
    ]
    return st.dictionaries(st.sampled_from(targets), st.integers(0, 5), max_size=2)


# Seldom unknown: most combats of a batch are to succeed.
_NAMES = [*(template.name for template in CATALOGUE * 8), "Дракон"]
LOOT = st.sampled_from([{"name": n, "qty": qty} for n in _NAMES for qty in (1, 2, 3)])
# Named by id, where it is more than what the player is shown.
GAINED = st.sampled_from(
    [
        *[None] * 5,
        [{"item_template_id": SWORD.id, "qty": 2, "properties": {"roll": 1}}],
        [{"item_template_id": HIDE.id, "qty": 1, "properties": {}}],
        [
            {"item_template_id": POTION.id, "qty": 3, "properties": {"roll": 0}},
            {"item_template_id": POTION.id, "qty": 1},
        ],
    ]
)
NAMED = st.sampled_from(
    [
        *({},) * 4,
        *({DUST: dust} for dust in (-40, -2, 0, 5, 70)),
        *({KARMA: karma, DUST: 1} for karma in (-15, -1, 2, 12)),
        {"mana": 1},
    ]
)
VITALS = st.sampled_from([None, *({"hp": hp, "energy": 5} for hp in range(9))])


@cache
def parts(char_id: int, *, wear: bool) -> st.SearchStrategy[Document]:
    """What a combat does to one player."""
    return st.builds(
        participant,
        xp_gained=st.integers(0, 30),
        gold_gained=st.integers(-50, 50),
        balances=NAMED,
        items_consumed=st.lists(consumed(char_id), max_size=4),
        durability_loss=worn(char_id) if wear else st.just({}),
        loot_obtained=st.lists(LOOT, max_size=3),
        items_gained=GAINED,
        state_snapshot=VITALS,
    )


# Seldom somebody nobody knows.
PLAYERS = st.sampled_from(
    [
        *((a,) for a in FIGHTERS),
        *permutations(FIGHTERS, 2),
        *permutations(FIGHTERS, 3),
        (FIGHTERS[0], NOBODY),
    ]
)


@st.composite
def batches(draw: st.DrawFn, *, wear: bool = True) -> list[Combat]:
    """Combats of distinct sessions in arrival order; equal finishes are frequent."""
    numbers = draw(st.lists(st.integers(1, 50), min_size=1, max_size=8, unique=True))
    return [
        combat(
            number,
            {
                **{c: draw(parts(c, wear=wear)) for c in draw(PLAYERS)},
                "goblin_1": {"changes": {"xp_gained": 0}, "level": 9},
            },
            seconds=draw(st.integers(0, 3)),
        )
        for number in numbers
    ]
