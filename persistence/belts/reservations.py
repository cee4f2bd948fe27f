"""Reserves belts: what a combat may use of its fighters' inventories while it lasts.

Tables: characters (locked by id), then inventory; combat_history is only read. A
reservation is released by the settlement of its combat, by `release` or by the sweep
(`orphans`). PostgreSQL decides who holds a belt; the copy in `cs:` follows after the
commit and can be made again at any time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from persistence.belts import containers
from persistence.belts.belt import Held, Item, held_by_player, sorted_out
from persistence.belts.containers import Stage
from persistence.contract.payload import BeltItem
from persistence.worker.sql import Row, array, fetch
from persistence.worker.transactions import open_cursor

if TYPE_CHECKING:
    from psycopg import Cursor

logger = logging.getLogger(__name__)

SETTLING_SECONDS = 1.0
"""A belt whose last fight is just being settled is waited for this long."""

POLL_SECONDS = 0.05

# By id, as the settlement does; the rows of the belts themselves need no lock then.
LOCK_CHARACTERS = """
SELECT id FROM characters WHERE id = ANY (%s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""

IS_RECORDED = "SELECT FROM combat_history WHERE session_id = %s"

# `is_left`: the combat that reserved the row will never use it again.
LOAD_BELTS = """
SELECT item.id, item.character_id, item.item_template_id, item.slot, item.quantity,
       item.properties, item.reserved_session_id,
       COALESCE(holder.settlement_status IN ('processed', 'voided'), false) AS is_left
FROM inventory item
LEFT JOIN combat_history holder ON holder.session_id = item.reserved_session_id
WHERE item.character_id = ANY (%s::bigint[]) AND item.is_equipped
  AND item.slot LIKE 'belt\\_%%'
"""

RESERVE = """
UPDATE inventory SET reserved_session_id = %s, reserved_caller = %s
WHERE id = ANY (%s::bigint[])
"""

# Pieces that no fight holds, of each template that is on a belt of this one.
FREE_PIECES = """
SELECT belt.character_id, belt.item_template_id,
       COALESCE(sum(item.quantity) FILTER (WHERE item.reserved_session_id IS NULL), 0)
FROM (SELECT DISTINCT character_id, item_template_id FROM inventory
      WHERE reserved_session_id = %s AND character_id = ANY (%s::bigint[])) belt
JOIN inventory item USING (character_id, item_template_id)
GROUP BY belt.character_id, belt.item_template_id
"""

GIVE_BACK = """
UPDATE inventory SET reserved_session_id = NULL
WHERE reserved_session_id = %s AND id = ANY (%s::bigint[])
"""

RELEASE_UNTOUCHED = """
UPDATE inventory SET reserved_session_id = NULL
WHERE reserved_session_id = %s AND character_id = %s AND id <> ALL (%s::bigint[])
"""

# Whoever releases need not know the players: their rows are found by what they hold.
LOCK_OWNERS = """
SELECT id FROM characters
WHERE id = ANY (ARRAY(SELECT character_id FROM inventory
                      WHERE reserved_session_id = ANY (%s::uuid[])))
ORDER BY id
FOR NO KEY UPDATE
"""

# Reserved since the owners were read: another call's to release.
RELEASE = """
UPDATE inventory SET reserved_session_id = NULL
WHERE reserved_session_id = ANY (%s::uuid[]) AND character_id = ANY (%s::bigint[])
"""


@dataclass(slots=True)
class Assembly:
    """`belts` of every known character asked for, in the order of the slots.

    Nothing is reserved where the combat is OVER. Where it is ABSENT only PostgreSQL
    knows of the belts: unless `cs:` appears, the sweep releases them.
    """

    stage: Stage
    belts: dict[int, list[BeltItem]] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    free: dict[int, dict[str, int]] = field(default_factory=dict)
    """Pieces in the bag of what is on the belt, by character and template."""


def assemble(
    session_id: UUID,
    char_ids: Iterable[int],
    *,
    of_start: bool = False,
    caller: str = "",
) -> Assembly:
    """Reserve the belts of these characters for a combat and put them into `cs:`.

    `of_start`: they are all that it was begun with; it is taken back where one of them
    does not exist, or PostgreSQL has its result. `caller`: the API token that asks, if
    one does; its name stands on what it reserves. Idempotent: called again it reserves
    what was equipped meanwhile, and leaves a belt that is in its container as it is.
    Raises the database's or Redis' own error: what was committed before stays reserved
    until the call is repeated or the combat ends.
    """
    wanted = sorted(set(char_ids))
    before = containers.stage(session_id)
    if before is Stage.OVER:
        return Assembly(Stage.OVER)
    # PostgreSQL first: who holds a belt is decided there, and a copy in `cs:` without a
    # reservation would let two fights drink the same potion.
    assembly, fresh = _reserve_patiently(session_id, wanted, caller, all_known=of_start)
    if of_start and (assembly.unknown or assembly.stage is Stage.OVER):
        logger.error(
            "start refused",
            extra={"session_id": session_id, "unknown": assembly.unknown},
        )
        stage = containers.take_back(session_id, wanted, assembly.unknown)
        if stage is not Stage.ACTIVE:
            return Assembly(Stage.OVER)
        # Too late to refuse: the engine fights already, so those who exist get their
        # belts.
        assembly, fresh = _reserve_patiently(session_id, wanted, caller)
    if assembly.stage is not Stage.OVER:
        if before is Stage.ACTIVE:
            # First: whoever waits for the belts may trade at once.
            containers.note_free(session_id, assembly.free)
        assembly.stage = containers.fill(
            session_id, assembly.belts, held_by_player(assembly.held)
        )
    # Taken back, or forgotten by Redis, while its belts were being reserved.
    is_gone = before is Stage.ACTIVE and assembly.stage is Stage.ABSENT
    if fresh and (is_gone or assembly.stage is Stage.OVER):
        _give_back(session_id, wanted, fresh)
    if is_gone or assembly.stage is Stage.OVER:
        return Assembly(Stage.OVER)
    _report(session_id, assembly)
    return assembly


def release(cursor: Cursor[Row], session_ids: Iterable[UUID]) -> int:
    """Release every belt of these combats inside the caller's transaction.

    Locks their owners: the caller holds no character yet, or all of them.
    """
    ids = array(session_ids)
    owners = fetch(cursor, LOCK_OWNERS, [ids])
    cursor.execute(RELEASE, [ids, array(row[0] for row in owners)])
    return cursor.rowcount


def release_untouched(session_id: UUID) -> int:
    """Release what players who have left a combat did not use up in it.

    The rest is the settlement's, which has yet to take what was used.
    """
    left = sorted(containers.leavers(session_id))
    if not left:
        return 0
    released = 0
    with open_cursor() as cursor:
        cursor.execute(LOCK_CHARACTERS, [array(left)])
        # Asked again under the locks: the belt of one who has come back is in use.
        for char_id, used in containers.leavers(session_id).items():
            if char_id in left:
                cursor.execute(RELEASE_UNTOUCHED, [session_id, char_id, array(used)])
                released += cursor.rowcount
    return released


def _reserve_patiently(
    session_id: UUID, char_ids: Sequence[int], caller: str, *, all_known: bool = False
) -> tuple[Assembly, list[int]]:
    """A player who fights again at once finds his belt, less what he has used."""
    deadline = time.monotonic() + SETTLING_SECONDS
    assembly, fresh = _reserve(session_id, char_ids, caller, all_known=all_known)
    while time.monotonic() < deadline and containers.are_settling(
        [held.session_id for held in assembly.held]
    ):
        # Outside the transaction: the settlement that is waited for needs its locks.
        time.sleep(POLL_SECONDS)
        assembly, more = _reserve(session_id, char_ids, caller, all_known=all_known)
        fresh += more
    return assembly, fresh


def _reserve(
    session_id: UUID, char_ids: Sequence[int], caller: str, *, all_known: bool
) -> tuple[Assembly, list[int]]:
    """One transaction; the second value are the rows that were not reserved before.

    `all_known`: nothing is reserved where one of the characters does not exist.
    """
    with open_cursor() as cursor:
        locked = [row[0] for row in fetch(cursor, LOCK_CHARACTERS, [array(char_ids)])]
        known = set(locked)
        unknown = [char_id for char_id in char_ids if char_id not in known]
        # Settled since it was asked: under the locks that the settlement held.
        if fetch(cursor, IS_RECORDED, [session_id]):
            return Assembly(Stage.OVER), []
        if unknown and all_known:
            return Assembly(Stage.ABSENT, unknown=unknown), []
        items = [Item(*row) for row in fetch(cursor, LOAD_BELTS, [array(locked)])]
        belts, held, fresh = sorted_out(session_id, items)
        cursor.execute(RESERVE, [session_id, caller, array(fresh)])
        if cursor.rowcount != len(fresh):
            raise RuntimeError(f"reserved {cursor.rowcount} of {len(fresh)} items")
        free = fetch(cursor, FREE_PIECES, [session_id, array(locked)])
    assembly = Assembly(Stage.ABSENT, belts, held)
    for char_id, template_id, pieces in free:
        assembly.free.setdefault(char_id, {})[template_id] = int(pieces)
    assembly.unknown = unknown
    assembly.belts = {char_id: assembly.belts.get(char_id, []) for char_id in locked}
    return assembly, fresh


def _give_back(
    session_id: UUID, char_ids: Sequence[int], inventory_ids: Sequence[int]
) -> None:
    """Only what this call reserved: the settlement counts on the rest."""
    with open_cursor() as cursor:
        cursor.execute(LOCK_CHARACTERS, [array(char_ids)])
        cursor.execute(GIVE_BACK, [session_id, array(inventory_ids)])


def _report(session_id: UUID, assembly: Assembly) -> None:
    if assembly.held or assembly.unknown:
        logger.warning(
            "belts incomplete",
            extra={
                "session_id": session_id,
                "held": [held.inventory_id for held in assembly.held],
                "unknown": assembly.unknown,
            },
        )
