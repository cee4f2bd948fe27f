"""What one combat changes, and what it leaves alone: loot, belts, AI, vitals."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import redis

from combat_history.models import (
    Character,
    CombatHistory,
    CombatParticipant,
    InventoryItem,
    LedgerLine,
    SettlementDiscrepancy,
)
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import checked
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from tests.conftest import Settle
from tests.support.documents import (
    HERO,
    PELT,
    POTION,
    SAMPLE_END,
    hero_fight,
    make_document,
    make_participant,
)
from tests.support.factories import add_character, add_item, add_template
from tests.support.ids import new_session_id


def bag(character_id: int) -> list[tuple[str, int, bool]]:
    rows = InventoryItem.objects.filter(character_id=character_id).order_by("id")
    return list(rows.values_list("item_template_id", "quantity", "is_equipped"))


def test_ai_participants_are_kept_in_the_document_and_nowhere_else(
    settle_here: Settle,
) -> None:
    add_character(102)
    document = make_document(
        {
            str(HERO): make_participant(xp_gained=3),
            "-102": make_participant(),
            "goblin_1": {"anything": ["goes"]},
            "": {},
        }
    )

    settle_here(document)

    row = CombatHistory.objects.get()
    assert row.participant_ids == [HERO]
    assert row.document() == document
    assert CombatParticipant.objects.get().character_id == HERO
    assert LedgerLine.objects.get(kind="settlement").character_id == HERO
    assert Character.objects.get(pk=102).xp == 0


def test_participants_are_players_ascending(settle_here: Settle) -> None:
    for character_id in (9, 1000):
        add_character(character_id)
    parts = {key: make_participant() for key in ("1000", "9", "101")}

    settle_here(make_document(parts))

    assert CombatHistory.objects.get().participant_ids == [9, 101, 1000]
    assert CombatParticipant.objects.count() == 3


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "Шкура волка"},
        {"name": "Wolf pelt"},
        {"item_template_id": PELT},
        {"item_template_id": PELT, "name": "whatever the player was told"},
    ],
)
def test_loot_is_found_by_either_name_or_by_id(
    settle_here: Settle, entry: dict[str, Any]
) -> None:
    settle_here(hero_fight(ui_report={"loot_obtained": [{**entry, "qty": 2}]}))

    assert (PELT, 2, False) in bag(HERO)


def test_given_items_gained_the_report_is_only_shown(settle_here: Settle) -> None:
    settle_here(
        hero_fight(
            items_gained=[{"item_template_id": PELT, "qty": 1}],
            ui_report={"loot_obtained": [{"name": "Эпический меч", "qty": 1}]},
        )
    )

    assert bag(HERO)[2:] == [(PELT, 1, False)]


def test_empty_items_gained_grants_nothing(settle_here: Settle) -> None:
    report = {"loot_obtained": [{"name": "Шкура волка", "qty": 1}]}

    settle_here(hero_fight(items_gained=[], ui_report=report))

    assert len(bag(HERO)) == 2


def test_stackable_loot_joins_the_bag_not_the_belt(settle_here: Settle) -> None:
    add_item(HERO, "hp_pot_small", 60, quantity=10)
    add_item(HERO, "hp_pot_small", 61, quantity=20)
    loot = [{"item_template_id": "hp_pot_small", "qty": 3}]

    settle_here(hero_fight(items_gained=loot), hero_fight(items_gained=loot))

    potions = InventoryItem.objects.filter(item_template_id="hp_pot_small")
    assert list(potions.order_by("id").values_list("id", "quantity")) == [
        (POTION, 5),
        (60, 16),
        (61, 20),
    ]


def test_unstackable_loot_comes_in_pieces_at_full_durability(
    settle_here: Settle,
) -> None:
    settle_here(hero_fight(items_gained=[{"item_template_id": "sword_epic", "qty": 2}]))

    swords = InventoryItem.objects.filter(origin_session_id__isnull=False)
    values = swords.values_list("quantity", "durability", "max_durability", "slot")
    assert list(values) == [(1, 100, 100, None)] * 2


def test_belt_row_used_up_is_removed_with_its_image_in_the_ledger(
    settle_here: Settle,
) -> None:
    settle_here(hero_fight(items_consumed=[{"inventory_id": POTION, "qty": 5}]))

    assert not InventoryItem.objects.filter(pk=POTION).exists()
    (movement,) = LedgerLine.objects.get(kind="settlement").items
    assert (movement["delta"], movement["after"]) == (-5, 0)
    image = movement["image"]
    assert (image["id"], image["quantity"], image["slot"]) == (POTION, 5, "belt_1")


def test_removal_at_zero_touches_exactly_those_rows(settle_here: Settle) -> None:
    """Empty rows of others, and of the player himself, are none of this combat's."""
    add_character(102)
    add_item(102, "hp_pot_small", 70, quantity=0)
    add_item(HERO, "hp_pot_small", 71, quantity=0, slot="belt_2")
    add_item(102, "hp_pot_small", 72, quantity=5)

    settle_here(hero_fight(items_consumed=[{"inventory_id": POTION, "qty": 5}]))

    left = InventoryItem.objects.filter(item_template_id="hp_pot_small")
    assert list(left.order_by("id").values_list("id", "quantity")) == [
        (70, 0),
        (71, 0),
        (72, 5),
    ]


def test_penalty_takes_gold(settle_here: Settle) -> None:
    Character.objects.update(gold=80)

    settle_here(hero_fight(gold_gained=-30))

    assert Character.objects.get().gold == 50
    line = LedgerLine.objects.get(kind="settlement")
    assert (line.gold_delta, line.gold_after) == (-30, 50)


def test_character_out_of_the_fight_is_not_touched(settle_here: Settle) -> None:
    add_character(102, gold=5)
    before = Character.objects.values().get(pk=102)

    settle_here(hero_fight(gold_gained=1))

    assert Character.objects.values().get(pk=102) == before


def test_player_without_snapshot_keeps_the_vitals(settle_here: Settle) -> None:
    settle_here(hero_fight(state_snapshot=None))

    hero = Character.objects.get()
    assert (hero.hp, hero.energy, hero.vitals_at) == (500, 100, None)


def series(character_id: int) -> list[Document]:
    """Four fights: rising ends, but the last two end together (ties go by id)."""
    ends = (SAMPLE_END, SAMPLE_END + 10, SAMPLE_END + 20, SAMPLE_END + 20)
    ids = sorted(new_session_id() for _ in ends)
    return [
        make_document(
            {
                str(character_id): make_participant(
                    xp_gained=10**n,
                    gold_gained=(-1) ** n * n,
                    state_snapshot={"hp": 100 + n, "energy": n},
                    items_gained=[{"item_template_id": PELT, "qty": n + 1}],
                )
            },
            session_id=session_id,
            end_timestamp=end,
        )
        for n, (session_id, end) in enumerate(zip(ids, ends, strict=True))
    ]


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "one by one"])
def test_any_order_of_arrival_ends_the_same(
    world: None, redis_client: redis.Redis, settle_here: Settle, together: bool
) -> None:
    for character_id, order in enumerate(permutations(range(4)), start=1000):
        add_character(character_id, gold=10)
        documents = series(character_id)
        for n in order:
            if together:
                inbox.record(checked(documents[n]))
            else:
                settle_here(documents[n])
        settle_inbox()

        hero = Character.objects.get(pk=character_id)
        assert (hero.xp, hero.gold) == (1111, 10 - 1 + 2 - 3), order
        assert (hero.hp, hero.energy) == (103, 3), order
        assert str(hero.vitals_session_id) == documents[3]["session_id"]
        assert bag(character_id) == [(PELT, 10, False)]
        account = redis_client.hgetall(redis_keys.account(character_id))
        assert (account[b"hp"], account[b"energy"]) == (b"103", b"3"), order
        newest = documents[3]["session_id"].encode()
        assert account[b"last_combat_session_id"] == newest


def test_one_batch_hands_effects_from_combat_to_combat(world: None) -> None:
    """Loot of the earlier fight is there for the later one; arrival is reversed."""
    add_template("bomb")
    add_item(HERO, "bomb", 80, quantity=1)
    gain = hero_fight(items_gained=[{"item_template_id": "bomb", "qty": 2}])
    use = make_document(
        {
            str(HERO): make_participant(
                gold_gained=-9, items_consumed=[{"inventory_id": 80, "qty": 3}]
            )
        },
        end_timestamp=SAMPLE_END + 1,
    )
    rich = make_document({str(HERO): make_participant(gold_gained=9)})
    for document in (use, gain, rich):
        inbox.record(checked(document))

    settle_inbox()

    assert Character.objects.get().gold == 0
    assert not InventoryItem.objects.filter(pk=80).exists()
    assert not SettlementDiscrepancy.objects.exists()
