"""The world as PostgreSQL holds it: who can fight, and what everybody owns."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.core.management.base import CommandError
from django.db import connection, transaction

from combat_history.management.commands.seed_world import CAST_IDS
from combat_history.models import Character, InventoryItem

ADVENTURER_IDS = CAST_IDS[-16:]
"""Part of the cast that has adventures of its own, and no other fights."""

FEW_PIECES = 3
"""A belt with fewer pieces left is filled up between two runs."""

_WORLD_LOCK = 0xF1647


@dataclass
class BeltRow:
    id: int
    template: str
    left: int


@dataclass
class Gear:
    id: int
    template: str


@dataclass
class Fighter:
    """A character as the engine knows it. `purse`: gold that penalties may take."""

    id: int
    name: str
    purse: int
    belt: list[BeltRow] = field(default_factory=list)
    gear: list[Gear] = field(default_factory=list)


@dataclass
class Balance:
    """All a character owns. `vitals`: end (Unix seconds) and session of the fight
    that hp and energy are from."""

    xp: int
    gold: int
    hp: int
    energy: int
    vitals: tuple[int, str]
    pieces: dict[str, int] = field(default_factory=dict)
    """Pieces by item template, over all rows."""
    durability: dict[int, int] = field(default_factory=dict)
    """Durability points by inventory row."""


def claim_world() -> None:
    """Keep other demos out: they would change the balances this one foretells.

    The claim ends with this thread's database connection.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_WORLD_LOCK])
        if cursor.fetchone() != (True,):
            raise CommandError("Another demo or run uses this world: stop it first.")


def restock() -> None:
    """Sell new potions to those of the cast whose belt is nearly empty."""
    pieces = dict.fromkeys(CAST_IDS, 0)
    for item in InventoryItem.objects.filter(
        character_id__in=CAST_IDS, slot__startswith="belt_"
    ):
        pieces[item.character_id] += item.quantity
    thirsty = [char_id for char_id in pieces if pieces[char_id] < FEW_PIECES]
    with transaction.atomic():
        # The character row guards the inventory: it is locked first, everywhere.
        buyers = (
            Character.objects.filter(id__in=thirsty)
            .order_by("id")
            .select_for_update(no_key=True)
        )
        InventoryItem.objects.bulk_create(
            InventoryItem(
                character=buyer,
                item_template_id="hp_pot_small",
                quantity=8,
                is_equipped=True,
                slot="belt_1",
            )
            for buyer in buyers
        )


def read_fighters() -> list[Fighter]:
    """The whole cast, ordered by id."""
    fighters = {
        character.id: Fighter(character.id, character.name, character.gold)
        for character in Character.objects.filter(id__in=CAST_IDS).order_by("id")
    }
    for item in _inventory():
        fighter = fighters[item.character_id]
        if item.is_equipped and item.durability is not None:
            fighter.gear.append(Gear(item.id, item.item_template_id))
        elif (item.slot or "").startswith("belt_"):
            fighter.belt.append(BeltRow(item.id, item.item_template_id, item.quantity))
    return list(fighters.values())


def read_balances() -> dict[int, Balance]:
    """What every character of the cast owns now."""
    balances = {
        character.id: Balance(
            xp=character.xp,
            gold=character.gold,
            hp=character.hp,
            energy=character.energy,
            vitals=_vitals(character),
        )
        for character in Character.objects.filter(id__in=CAST_IDS).order_by("id")
    }
    for item in _inventory():
        balance = balances[item.character_id]
        held = balance.pieces.get(item.item_template_id, 0)
        balance.pieces[item.item_template_id] = held + item.quantity
        if item.durability is not None:
            balance.durability[item.id] = item.durability
    return balances


def _inventory() -> list[InventoryItem]:
    return list(InventoryItem.objects.filter(character_id__in=CAST_IDS).order_by("id"))


def _vitals(character: Character) -> tuple[int, str]:
    if character.vitals_at is None:
        return 0, ""
    return int(character.vitals_at.timestamp()), str(character.vitals_session_id or "")
