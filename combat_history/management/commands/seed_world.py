"""`manage.py seed_world`: the small world of the demo. Running it again adds nothing.

It holds what examples/sample_payload.json needs (character 101 with row 55 on the belt
and an epic sword) and a cast of some hundred characters, all below the ids that
settlements hand out. A character's rows are written together with the character and
never again: what fights have used up stays used up.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand
from django.core.management.color import no_style
from django.db import connection, transaction

from combat_history.models import (
    BalanceTemplate,
    Character,
    InventoryItem,
    ItemTemplate,
)
from persistence.contract.changes import MAX_BIGINT

SAMPLE_CHARACTER = 101
CAST_IDS = range(1001, 1301)
_SEED_LOCK = 0x5EED

# (id, Russian, English, maximum durability; without one it stacks)
CATALOGUE: list[tuple[str, str, str, int | None]] = [
    ("hp_pot_small", "Малое зелье здоровья", "Small health potion", None),
    ("hp_pot_big", "Большое зелье здоровья", "Big health potion", None),
    ("energy_pot", "Зелье бодрости", "Energy potion", None),
    ("bandage", "Бинт", "Bandage", None),
    ("wolf_pelt", "Шкура волка", "Wolf pelt", None),
    ("wolf_fang", "Клык волка", "Wolf fang", None),
    ("goblin_ear", "Ухо гоблина", "Goblin ear", None),
    ("spider_silk", "Паучий шёлк", "Spider silk", None),
    ("troll_bone", "Кость тролля", "Troll bone", None),
    ("iron_ore", "Железная руда", "Iron ore", None),
    ("healing_herb", "Целебная трава", "Healing herb", None),
    ("old_coin", "Старинная монета", "Old coin", None),
    ("ruby", "Рубин", "Ruby", None),
    ("town_scroll", "Свиток возвращения", "Town scroll", None),
    ("sword_iron", "Железный меч", "Iron sword", 80),
    ("sword_epic", "Эпический меч", "Epic sword", 100),
    ("axe_steel", "Стальной топор", "Steel axe", 90),
    ("bow_yew", "Тисовый лук", "Yew bow", 60),
    ("mail_iron", "Железная кольчуга", "Iron mail", 120),
    ("jacket_leather", "Кожаная куртка", "Leather jacket", 70),
]

# (id, Russian, English, floor, maximum)
BALANCES: list[tuple[str, str, str, int, int]] = [
    ("dust", "Волшебная пыль", "Magic dust", 0, MAX_BIGINT),
    ("skill:sword", "Владение мечом", "Swordsmanship", 0, MAX_BIGINT),
    ("rating:pvp", "Рейтинг дуэлей", "Duel rating", -1000, 10_000),
]

WEAPONS = ("sword_iron", "axe_steel", "bow_yew")
ARMOUR = ("mail_iron", "jacket_leather")
POTIONS = ("hp_pot_small", "hp_pot_big", "bandage")

_NAMES = [
    "Ратибор",
    "Ярослав",
    "Велимир",
    "Добрыня",
    "Всеслав",
    "Светозар",
    "Тихомир",
    "Святогор",
    "Пересвет",
    "Мстислав",
    "Борислав",
    "Радомир",
    "Богдан",
    "Лютобор",
    "Ждан",
]
_BYNAMES = [
    "Быстрый",
    "Хмурый",
    "Рыжий",
    "Седой",
    "Меткий",
    "Молчун",
    "Упрямый",
    "Лихой",
    "Вольный",
    "Зоркий",
    "Горячий",
    "Тихий",
    "Северный",
    "Лесной",
    "Степной",
    "Каменный",
    "Ловкий",
    "Мудрый",
    "Дерзкий",
    "Стойкий",
]


class Command(BaseCommand):
    help = "Create the small world of the demo; existing parts stay as they are."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_SEED_LOCK])
            ItemTemplate.objects.bulk_create(_templates(), ignore_conflicts=True)
            BalanceTemplate.objects.bulk_create(_balances(), ignore_conflicts=True)
            created = _create_characters()
            # New characters of the admin get ids above the cast.
            for statement in connection.ops.sequence_reset_sql(no_style(), [Character]):
                cursor.execute(statement)
        if options["verbosity"]:
            self.stdout.write(f"World: {created} characters added.")


def _templates() -> list[ItemTemplate]:
    return [
        ItemTemplate(
            id=template_id,
            name=name,
            name_en=name_en,
            stackable=durability is None,
            max_durability=durability,
        )
        for template_id, name, name_en, durability in CATALOGUE
    ]


def _balances() -> list[BalanceTemplate]:
    return [
        BalanceTemplate(
            id=id_, name=name, name_en=name_en, floor=floor, maximum=maximum
        )
        for id_, name, name_en, floor, maximum in BALANCES
    ]


def _create_characters() -> int:
    wanted = {SAMPLE_CHARACTER, *CAST_IDS}
    known = Character.objects.filter(id__in=wanted).values_list("id", flat=True)
    missing = sorted(wanted.difference(known))
    Character.objects.bulk_create(map(_character, missing))
    InventoryItem.objects.bulk_create(
        item for char_id in missing for item in _inventory(char_id)
    )
    return len(missing)


def _character(char_id: int) -> Character:
    if char_id == SAMPLE_CHARACTER:
        return Character(id=char_id, name="Герой", xp=0, gold=0, hp=500, energy=100)
    rng = random.Random(char_id)  # noqa: S311 -- the same world on every machine
    byname, name = divmod(char_id - CAST_IDS.start, len(_NAMES))
    return Character(
        id=char_id,
        name=f"{_NAMES[name]} {_BYNAMES[byname % len(_BYNAMES)]}",
        xp=rng.randrange(50_000),
        gold=rng.randrange(200, 2000),
        hp=rng.randrange(150, 400),
        energy=100,
    )


def _inventory(char_id: int) -> Iterator[InventoryItem]:
    if char_id == SAMPLE_CHARACTER:
        yield _item(55, char_id, "hp_pot_small", "belt_1", 5)
        yield _item(56, char_id, "sword_epic", "main_hand", 1)
        return
    rng = random.Random(f"items of {char_id}")  # noqa: S311 -- the same world on every machine
    row_id = char_id * 10
    yield _item(row_id, char_id, rng.choice(WEAPONS), "main_hand", 1)
    yield _item(row_id + 1, char_id, rng.choice(ARMOUR), "body", 1)
    for place, potion in enumerate(rng.sample(POTIONS, rng.randint(1, 3)), 1):
        quantity = rng.randint(3, 12)
        yield _item(row_id + 1 + place, char_id, potion, f"belt_{place}", quantity)
    yield _item(row_id + 5, char_id, "old_coin", None, rng.randint(1, 30))


def _item(
    row_id: int, char_id: int, template_id: str, slot: str | None, quantity: int
) -> InventoryItem:
    durability = _DURABILITY[template_id]
    return InventoryItem(
        id=row_id,
        character_id=char_id,
        item_template_id=template_id,
        quantity=quantity,
        is_equipped=slot is not None,
        slot=slot,
        durability=durability,
        max_durability=durability,
    )


_DURABILITY = {template_id: durability for template_id, *_, durability in CATALOGUE}
