"""A populated database: 100 000 characters with five inventory rows each.

Ids are computed, so that documents name real rows without asking. Nobody runs short
of anything in a backlog: what a run leaves behind then does not depend on the order
in which its combats were settled, and two variants can be compared to the last coin.
"""

from __future__ import annotations

from enum import IntEnum

from benchmarks.servers import WORLD_DATABASE, Servers

CHARACTERS = 100_000
XP, GOLD = 1000, 100_000
PIECES = 1013
"""Pieces in all of one character's rows."""

TRINKETS = 195
"""Templates nobody owns yet: looting one inserts a row."""

POTION, SCROLL, SWORD, PLATE = "hp_pot_small", "scroll_home", "sword_epic", "plate"
PELT, PELT_NAME, RING = "wolf_pelt", "Шкура волка", "ring_copper"


class Kit(IntEnum):
    """Every character's rows; the value is the place in its block of ids."""

    POTIONS = 1
    SCROLL = 2
    """The last one: using it removes the row."""
    SWORD = 3
    PLATE = 4
    PELTS = 5


def row_id(char_id: int, row: Kit) -> int:
    return (char_id - 1) * len(Kit) + row


CATALOGUE = f"""
INSERT INTO item_templates (id, name, name_en, stackable, max_durability) VALUES
    ('{POTION}', 'Малое зелье лечения', 'Small healing potion', true, NULL),
    ('{SCROLL}', 'Свиток возвращения', 'Scroll of homecoming', true, NULL),
    ('{SWORD}', 'Эпический меч', 'Epic sword', false, 1000),
    ('{PLATE}', 'Латы', 'Plate armour', false, 1000),
    ('{PELT}', '{PELT_NAME}', 'Wolf pelt', true, NULL),
    ('{RING}', 'Медное кольцо', 'Copper ring', false, 50);
INSERT INTO item_templates (id, name, name_en)
SELECT 'trinket_' || i, 'Безделушка ' || i, 'Trinket ' || i
FROM generate_series(1, {TRINKETS}) AS i
"""

POPULATION = f"""
INSERT INTO characters (id, name, xp, gold, hp, energy)
SELECT i, 'Hero ' || i, {XP}, {GOLD}, 500, 100
FROM generate_series(1, %s::int) AS i
"""

BELONGINGS = f"""
INSERT INTO inventory (id, character_id, item_template_id, quantity, is_equipped, slot,
                       durability, max_durability)
SELECT (owner.id - 1) * {len(Kit)} + kit.place, owner.id, kit.template, kit.quantity,
       kit.slot IS NOT NULL, kit.slot, kit.durability, kit.durability
FROM characters AS owner,
     (VALUES ({Kit.POTIONS}, '{POTION}', 1000, 'belt_1', NULL::int),
             ({Kit.SCROLL}, '{SCROLL}', 1, 'belt_2', NULL),
             ({Kit.SWORD}, '{SWORD}', 1, 'hand', 1000),
             ({Kit.PLATE}, '{PLATE}', 1, 'body', 1000),
             ({Kit.PELTS}, '{PELT}', 10, NULL, NULL))
     AS kit (place, template, quantity, slot, durability)
"""


def build(servers: Servers, characters: int = CHARACTERS) -> None:
    """Make the world that every run gets a copy of."""
    servers.create_database(WORLD_DATABASE, "template0")
    servers.manage("migrate", database=WORLD_DATABASE)
    with servers.connect(WORLD_DATABASE) as connection:
        connection.execute(CATALOGUE)
        connection.execute(POPULATION, [characters])
        connection.execute(BELONGINGS)
        # Hint bits, visibility and statistics: copies inherit all three.
        connection.execute("VACUUM (ANALYZE)")


def copy(servers: Servers) -> None:
    """A fresh world and an empty Redis: the same start for every run."""
    servers.create_database(servers.run_database, WORLD_DATABASE)
    servers.flush_redis()
