"""Characters and catalogue as the game says them: at HTTP's door and from files.

Set-based, and harmless to repeat. A character that is there keeps what it has: what a
registration says it comes with counts when it makes one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, connection, transaction

from persistence.contract.world import (
    BalanceKind,
    ItemKind,
    Refusal,
    Registration,
)

Registrations = Sequence[tuple[int, Registration]]
"""By character id, each once, ascending: the order of everybody's locks."""

# Also of one that keeps its name: its row is locked before anything hangs on it.
CHARACTERS = """
INSERT INTO characters AS c (id, name, xp, gold, hp, energy, location)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[],
                     %s::bigint[], %s::bigint[], %s::text[])
ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name
RETURNING id, xmax = 0
"""

DROP_FORMER_IDS = """
DELETE FROM character_external_ids held
WHERE held.character_id = ANY (%s::bigint[]) AND NOT EXISTS (
    SELECT FROM unnest(%s::bigint[], %s::text[], %s::text[])
        AS said (character_id, kind, value)
    WHERE (said.character_id, said.kind, said.value)
        = (held.character_id, held.kind, held.value)
)
"""

ADD_IDS = """
INSERT INTO character_external_ids (character_id, kind, value)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[])
ON CONFLICT (kind, value) DO NOTHING
"""

# After adding: whoever was faster by then is seen.
TAKEN = """
SELECT said.character_id, said.kind, held.character_id
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS said (character_id, kind, value)
JOIN character_external_ids held USING (kind, value)
WHERE held.character_id <> said.character_id
ORDER BY 1, 2
"""

ADD_BALANCES = """
INSERT INTO balances (character_id, balance_id, amount)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[])
"""

# A trigger notes what each row came with.
ADD_ITEMS = """
INSERT INTO inventory
    (character_id, item_template_id, quantity, durability, max_durability)
SELECT said.character_id, template.id,
       CASE WHEN template.stackable THEN said.qty ELSE 1 END,
       template.max_durability, template.max_durability
FROM unnest(%s::bigint[], %s::text[], %s::int[])
    WITH ORDINALITY AS said (character_id, item_template_id, qty, place)
JOIN item_templates template ON template.id = said.item_template_id,
LATERAL generate_series(1, CASE WHEN template.stackable THEN 1 ELSE said.qty END)
ORDER BY said.place
"""

UNKNOWN = """
SELECT 'unknown_item', id FROM unnest(%s::text[]) AS said (id)
WHERE NOT EXISTS (SELECT FROM item_templates t WHERE t.id = said.id)
UNION ALL
SELECT 'unknown_balance', id FROM unnest(%s::text[]) AS said (id)
WHERE NOT EXISTS (SELECT FROM balance_templates t WHERE t.id = said.id)
"""

ITEM = """
INSERT INTO item_templates AS t (id, name, name_en, stackable, max_durability)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE
SET name = EXCLUDED.name, name_en = EXCLUDED.name_en, stackable = EXCLUDED.stackable,
    max_durability = EXCLUDED.max_durability
RETURNING xmax = 0
"""

# Locked, so that no loot of it is planned by the old rule meanwhile.
IS_STACKABLE = "SELECT stackable FROM item_templates WHERE id = %s FOR UPDATE"
IS_OWNED = "SELECT EXISTS (SELECT FROM inventory WHERE item_template_id = %s)"
NAMESAKE = """
SELECT id FROM item_templates WHERE id <> %(id)s
AND (name = %(name)s OR %(name_en)s <> '' AND name_en = %(name_en)s) LIMIT 1
"""

BALANCE = """
INSERT INTO balance_templates AS t (id, name, name_en, floor, maximum)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE
SET name = EXCLUDED.name, name_en = EXCLUDED.name_en, floor = EXCLUDED.floor,
    maximum = EXCLUDED.maximum
RETURNING xmax = 0
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a registration is refused: a stable code, and where in it."""

    code: Refusal
    path: str
    message: str


class Refused(Exception):
    """Nothing was written. `faults`: by character, or by id of the catalogue."""

    def __init__(self, faults: Mapping[int | str, Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


def register(said: Registrations) -> set[int]:
    """Make these characters, or rename them; the ids of those that are new.

    All or nothing, in a transaction of its own. Raises Refused.
    """
    with transaction.atomic():
        made = _made(said)
        _name_outside([(i, one) for i, one in said if one.external_ids is not None])
        _open([(id_, one) for id_, one in said if id_ in made])
    return made


def keep_item(template_id: str, kind: ItemKind) -> bool:
    """Whether it is new. Raises Refused: `name_taken`, `in_use`."""
    try:
        return _keep_item(template_id, kind)
    except IntegrityError:
        # Another item took the name since it was looked for: now it is found.
        return _keep_item(template_id, kind)


def _keep_item(template_id: str, kind: ItemKind) -> bool:
    row = (kind.name, kind.name_en, kind.stackable, kind.max_durability)
    with transaction.atomic():
        was = _value(IS_STACKABLE, [template_id])
        if was not in (None, kind.stackable) and _value(IS_OWNED, [template_id]):
            fault = Fault(
                Refusal.IN_USE, "stackable", "somebody owns one: it stays as it is"
            )
            raise Refused({template_id: fault})
        names = {"id": template_id, "name": kind.name, "name_en": kind.name_en}
        other = _value(NAMESAKE, names)
        if other is not None:
            fault = Fault(Refusal.NAME_TAKEN, "name", f"is the name of item {other}")
            raise Refused({template_id: fault})
        return bool(_value(ITEM, [template_id, *row]))


def keep_balance(balance_id: str, kind: BalanceKind) -> bool:
    """Whether it is new."""
    row = (kind.name, kind.name_en, kind.floor, kind.maximum)
    with transaction.atomic():
        return bool(_value(BALANCE, [balance_id, *row]))


def _made(said: Registrations) -> set[int]:
    rows = [
        (i, one.name, o.xp, o.gold, o.hp, o.energy, o.location)
        for i, one in said
        for o in (one.opening,)
    ]
    return {id_ for id_, is_new in _rows(CHARACTERS, _columns(rows, 7)) if is_new}


def _name_outside(said: Registrations) -> None:
    held = [(i, *pair) for i, one in said for pair in (one.external_ids or {}).items()]
    columns = _columns(held, 3)
    with connection.cursor() as cursor:
        cursor.execute(DROP_FORMER_IDS, [[i for i, _ in said], *columns])
        cursor.execute(ADD_IDS, columns)
    taken = _rows(TAKEN, columns)
    if taken:
        raise Refused(
            {
                mine: Fault(
                    Refusal.EXTERNAL_ID_TAKEN,
                    f"external_ids.{kind}",
                    f"is the one of character {other}",
                )
                for mine, kind, other in taken
            }
        )


def _open(said: Registrations) -> None:
    balances = [(i, *pair) for i, one in said for pair in one.opening.balances.items()]
    items = [
        (i, item.item_template_id, item.qty)
        for i, one in said
        for item in one.opening.items
    ]
    if not balances and not items:
        return
    _refuse_unknown(balances, items)
    with connection.cursor() as cursor:
        cursor.execute(ADD_BALANCES, _columns(balances, 3))
        cursor.execute(ADD_ITEMS, _columns(items, 3))


def _refuse_unknown(
    balances: Iterable[tuple[int, str, int]], items: Iterable[tuple[int, str, int]]
) -> None:
    owners: dict[Refusal, defaultdict[str, list[int]]] = {
        Refusal.UNKNOWN_ITEM: defaultdict(list),
        Refusal.UNKNOWN_BALANCE: defaultdict(list),
    }
    for i, template_id, _ in items:
        owners[Refusal.UNKNOWN_ITEM][template_id].append(i)
    for i, balance_id, _ in balances:
        owners[Refusal.UNKNOWN_BALANCE][balance_id].append(i)
    faults: dict[int | str, Fault] = {}
    for name, id_ in _rows(UNKNOWN, [list(of_code) for of_code in owners.values()]):
        code = Refusal(name)
        path = f"opening.{'items' if code is Refusal.UNKNOWN_ITEM else 'balances'}"
        fault = Fault(code, path, f"{id_} is not in the catalogue")
        faults |= dict.fromkeys(owners[code][id_], fault)
    if faults:
        raise Refused(faults)


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    columns: list[list[Any]] = [[] for _ in range(width)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns


def _rows(query: str, parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def _value(query: str, parameters: Any) -> Any:
    rows = _rows(query, parameters)
    return rows[0][0] if rows else None
