"""The demo's own arithmetic: mixture, documents, and balances in any order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import get_args
from uuid import UUID

import pytest

from combat_history.management.commands.seed_world import CATALOGUE
from demo import fates
from demo.adventurers import Adventurer
from demo.bag import Bag, Row, Shape
from demo.deeds import (
    Deed,
    Finish,
    Handle,
    Vanish,
    from_record,
    to_record,
)
from demo.documents import FAULTS
from demo.model import differences, foretell
from demo.schedule import MIN_COMBATS, Schedule, uuid7
from demo.stories import write_stories
from demo.submission import Door, Kind, Outcome, Submission
from demo.world import Balance, BeltRow, Fighter, Gear
from persistence.contract.document import Document, parse_document
from persistence.contract.errors import PayloadInvalid
from persistence.contract.payload import validate
from persistence.engine.handoff import checked, unchecked
from persistence.savers.combat.plan import plan_batch
from persistence.savers.combat.rows import (
    Catalogue,
    CharacterRow,
    Combat,
    ItemRow,
    Template,
    World,
)
from persistence.savers.inventory import bag as inventory_bag
from persistence.savers.inventory.plan import InventoryPlan, Known, plan_operations
from persistence.savers.inventory.requests import read_element

CLOCK = 1_735_460_000
FIGHTERS = range(1001, 1101)
ADVENTURERS = FIGHTERS[-8:]
SEEDS = (1, 2, 3)
TEMPLATES = [
    Template(id_, name, name_en, durability is None, durability)
    for id_, name, name_en, durability in CATALOGUE
]
PURSE = 15
"""Less than the penalties of a run, were they not kept below it."""


def row_ids(char_id: int) -> tuple[int, int, int]:
    """Weapon, potions, trophies."""
    return char_id * 10, char_id * 10 + 1, char_id * 10 + 2


def fighters() -> list[Fighter]:
    return [
        Fighter(
            char_id,
            f"Fighter {char_id}",
            purse=PURSE,
            belt=[BeltRow(row_ids(char_id)[1], "bandage", 4)],
            gear=[Gear(row_ids(char_id)[0], "sword_iron")],
        )
        for char_id in FIGHTERS
    ]


def opening() -> dict[int, Balance]:
    return {
        char_id: Balance(
            xp=0,
            gold=PURSE,
            hp=100,
            energy=100,
            vitals=(0, ""),
            pieces={"sword_iron": 1, "bandage": 4, "old_coin": 2},
            # Worn out within a few fights: wear has to stop at zero in any order.
            durability={row_ids(char_id)[0]: 6},
        )
        for char_id in FIGHTERS
    }


def schedule(seed: int, combats: int = 500) -> list[Submission]:
    return list(Schedule(Random(seed), fighters(), combats, start=CLOCK, rate=60))


def document(submission: Submission) -> Document:
    body = submission.body
    parsed: Document = json.loads(body) if isinstance(body, str) else body
    return parsed


@pytest.mark.parametrize("seed", SEEDS)
def test_of_500_combats_every_mishap_has_its_share(seed: int) -> None:
    sent = schedule(seed)
    kinds = Counter(submission.kind for submission in sent)
    assert len([s for s in sent if s.is_combat]) == 500
    repeated = {s.session_id for s in sent if s.kind is Kind.DUPLICATE}
    assert len(repeated) >= 25
    assert kinds[Kind.LATE] >= 10
    assert kinds[Kind.CONFLICT] >= 5
    assert kinds[Kind.MALFORMED] >= max(5, len(FAULTS))
    assert kinds[Kind.UNKNOWN_LOOT] >= 5
    assert kinds[Kind.SHORTAGE] >= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_fights_are_of_every_kind(seed: int) -> None:
    fights = [document(s) for s in schedule(seed) if s.outcome is Outcome.PROCESSED]
    reasons = Counter(fight["meta"]["finish_reason"] for fight in fights)
    assert set(reasons) == {"victory", "defeat", "flee", "draw"}
    people = [fight["participants"] for fight in fights]
    assert any(any(key.startswith("-") for key in p) for p in people)
    assert any(any(key.startswith("goblin_") for key in p) for p in people)
    assert any(sum(key.isdigit() for key in p) == 6 for p in people)
    results = [result for p in people for result in p.values() if "changes" in result]
    changes = [result["changes"] for result in results]
    assert any(c["gold_gained"] < 0 for c in changes)
    assert any(c["items_consumed"] for c in changes)
    assert any(c.get("items_gained") for c in changes)
    assert any(result["ui_report"].get("loot_obtained") for result in results)
    named = {
        target.partition(":")[0] for c in changes for target in c["durability_loss"]
    }
    assert named == {"item", "inventory"}
    assert all(fight["replay_log"] for fight in fights)


@pytest.mark.parametrize("combats", [MIN_COMBATS, 60])
def test_a_small_run_has_every_mishap(combats: int) -> None:
    sent = schedule(1, combats)
    assert len([s for s in sent if s.is_combat]) == combats
    assert {s.kind for s in sent} == set(Kind)


@pytest.mark.parametrize("seed", SEEDS)
def test_documents_keep_the_contract_or_break_it_as_foretold(seed: int) -> None:
    for submission in schedule(seed):
        if submission.kind is not Kind.MALFORMED:
            handoff = checked(submission.body)
            assert str(handoff.session_id) == submission.session_id
            assert handoff.sha256 == submission.sha256
            continue
        assert submission.door is Door.TASK
        assert isinstance(submission.body, str)
        raw = submission.body.encode()
        judge = refuse if submission.outcome is Outcome.REJECTED else validate_text
        with pytest.raises(PayloadInvalid) as refused:
            judge(raw)
        assert refused.value.code == submission.code


def refuse(raw: bytes) -> None:
    """Raises only where no row can be."""
    unchecked(raw)


def validate_text(raw: bytes) -> None:
    """Raises also where the row will say what is wrong."""
    validate(parse_document(raw))


def test_deliveries_that_depend_on_others_come_after_them() -> None:
    sent = schedule(1)
    places = {s.session_id: n for n, s in enumerate(sent) if s.is_combat}
    dependent = [(n, s) for n, s in enumerate(sent) if s.after is not None]
    assert dependent
    for place, submission in dependent:
        assert submission.after is not None
        first = sent[places[submission.after]]
        assert places[submission.after] < place
        # Only this door says when a document is accepted.
        assert first.door is Door.DISPATCHER
        if submission.kind is Kind.LATE:
            assert submission.ended_at < first.ended_at
            assert set(submission.gains) & set(first.gains)


def test_a_seed_repeats_its_run_and_another_does_not() -> None:
    first, again, other = schedule(1), schedule(1), schedule(2)
    assert [s.record() for s in first] == [s.record() for s in again]
    assert [s.body for s in first] == [s.body for s in again]
    assert [s.sha256 for s in first] != [s.sha256 for s in other]
    assert deeds(1) == deeds(1) != deeds(2)


def test_a_submission_survives_its_journal_line() -> None:
    for submission in schedule(1, 60):
        line = json.loads(json.dumps(submission.record()))
        assert Submission.from_record(line).record() == submission.record()


def test_session_ids_are_version_7_and_ordered_by_time() -> None:
    rng = Random(1)
    ids = [uuid7(CLOCK * 1000 + ms, rng) for ms in range(50)]
    assert ids == sorted(ids)
    assert {UUID(text).version for text in ids} == {7}
    assert {UUID(text).variant for text in ids} == {"specified in RFC 4122"}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plan_of_any_order_ends_where_the_model_says(seed: int) -> None:
    sent = schedule(seed)
    expected = foretell(opening(), sent)
    assert expected != opening()
    for order in range(2):
        shuffled = Random(order).sample(sent, len(sent))
        assert differences(expected, settled_one_by_one(shuffled)) == {}


def test_the_model_sees_every_kind_of_difference() -> None:
    expected = opening()
    sword, *_ = row_ids(1001)
    for spoil, what in (
        (lambda b: setattr(b, "gold", 99), f"gold: expected {PURSE}, found 99"),
        (lambda b: setattr(b, "xp", 1), "xp: expected 0, found 1"),
        (lambda b: setattr(b, "hp", 1), "hp: expected 100, found 1"),
        (lambda b: b.pieces.update(bandage=5), "bandage: expected 4, found 5"),
        (lambda b: b.pieces.update(ruby=1), "ruby: expected 0, found 1"),
        (lambda b: b.durability.clear(), f"row {sword}: expected 6, found None"),
    ):
        found = opening()
        spoil(found[1001])
        (line,) = differences(expected, found)[1001]
        assert line.endswith(what)
    found = opening()
    del found[1002]
    assert differences(expected, found) == {1002: ["is gone"]}


def bag_of(char_id: int) -> Bag:
    rows = [row for row in item_rows() if row.character_id == char_id]
    return Bag([Row(row.id, *shape(row)) for row in rows])


def deeds(seed: int) -> list[Deed]:
    everybody = fighters()
    adventurers = [
        Adventurer(one, bag_of(one.id)) for one in everybody if one.id in ADVENTURERS
    ]
    strangers = [one for one in everybody if one.id not in ADVENTURERS]
    stories = write_stories(Random(seed), adventurers, strangers, "run", CLOCK)
    return [deed for s in stories for deed in (*s.deeds, *s.buttons)]


def test_adventures_have_everything_that_can_befall_a_player() -> None:
    done = deeds(1)
    assert {type(deed) for deed in done} == set(get_args(Deed))
    assert any(not getattr(deed, "is_heard", True) for deed in done)
    told = fates.foretell({c: fate(c) for c in ADVENTURERS}, done)
    assert len(told.fights) == 5
    assert len(told.forced) == 1
    assert {journey.is_closed for journey in told.journeys.values()} == {True, False}
    refusals = {deed.refused for deed in done if isinstance(deed, Handle)}
    assert refusals == {"", "item_reserved", "invalid_operation"}
    for ending in (Finish, Vanish):
        fights = [deed for deed in done if isinstance(deed, ending)]
        assert any(gain.used for fight in fights for gain in fight.gains.values())


def test_a_deed_survives_its_journal_line() -> None:
    for deed in deeds(1):
        line = json.loads(json.dumps({"event": "deed", "number": 1, **to_record(deed)}))
        again = from_record(line)
        assert to_record(again) == to_record(deed)
        assert again.expected == deed.expected


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plan_of_all_operations_ends_where_the_model_says(seed: int) -> None:
    done = [deed for deed in deeds(seed) if isinstance(deed, Handle)]
    told = fates.foretell({c: fate(c) for c in ADVENTURERS}, done)
    applied: set[tuple[int, str]] = set()
    parked = {}
    for char_id in ADVENTURERS:
        found, plan = planned(char_id, [d for d in done if d.character == char_id])
        assert found == told.characters[char_id].bag.shapes()
        applied |= {(char_id, op_id) for op_id in plan.applied}
        for op_id, entry in plan.parked.items():
            parked[char_id, op_id] = (str(entry.code), entry.blocked_by)
    assert applied == told.applied
    assert parked == told.parked
    codes = {code for code, _ in parked.values()}
    assert codes > {"blocked", "item_gone", "item_shortage", "unknown_item"}


def fate(char_id: int) -> fates.Fate:
    return fates.Fate(0, PURSE, 100, 100, "", "", 0, bag_of(char_id))


def planned(
    char_id: int, handles: Iterable[Handle]
) -> tuple[Counter[Shape], InventoryPlan]:
    """What the system's own planner makes of one player's operations."""
    items = [inventory_bag.Item(**asdict(row)) for row in item_rows()]
    templates = {template.id: template for template in TEMPLATES}
    bag = inventory_bag.Bag(char_id, items, templates, count(1_000_000_000))
    requests = [
        read_element(char_id, json.dumps(operation).encode())
        for handle in handles
        if not handle.refused
        for _ in range(handle.times)
        for operation in handle.operations
    ]
    plan = plan_operations(requests, Known({}), bag, "")
    own = [row for row in bag.rows.values() if row.character_id == char_id]
    made = bag.inserted
    return Counter((None if r.id in made else r.id, *shape(r)) for r in own), plan


def shape(row: ItemRow) -> tuple[str, int, str | None, int | None]:
    return row.item_template_id, row.quantity, row.slot, row.durability


def settled_one_by_one(submissions: Iterable[Submission]) -> dict[int, Balance]:
    """What the system's own planner makes of the documents, in the given order."""
    world = World(map(character_row, FIGHTERS), item_rows())
    catalogue = Catalogue(TEMPLATES)
    new_ids = count(1_000_000_000)
    for submission in submissions:
        if submission.outcome is Outcome.PROCESSED:
            payload = validate(
                parse_document(json.dumps(document(submission)).encode())
            )
            combat = Combat(payload.session_id, payload.finished_at, payload)
            plan = plan_batch([combat], world, catalogue, new_ids)
            assert not plan.failures
            assert len(plan.discrepancies) == len(submission.shortages)
    return {char_id: balance_in(world, char_id) for char_id in FIGHTERS}


def character_row(char_id: int) -> CharacterRow:
    return CharacterRow(char_id, 0, PURSE, 100, 100, None, None)


def item_rows() -> list[ItemRow]:
    rows = []
    for char_id in FIGHTERS:
        sword, potions, coins = row_ids(char_id)
        rows += [
            item_row(sword, char_id, "sword_iron", 1, "main_hand", 6),
            item_row(potions, char_id, "bandage", 4, "belt_1", None),
            item_row(coins, char_id, "old_coin", 2, None, None),
        ]
    return rows


def item_row(
    row_id: int,
    char_id: int,
    template: str,
    quantity: int,
    slot: str | None,
    durability: int | None,
) -> ItemRow:
    return ItemRow(
        id=row_id,
        character_id=char_id,
        item_template_id=template,
        quantity=quantity,
        is_equipped=slot is not None,
        slot=slot,
        durability=durability,
        max_durability=durability,
        origin_session_id=None,
        opening_quantity=quantity,
    )


def balance_in(world: World, char_id: int) -> Balance:
    character = world.characters[char_id]
    rows = [row for row in world.items.values() if row.character_id == char_id]
    pieces: Counter[str] = Counter()
    for row in rows:
        pieces[row.item_template_id] += row.quantity
    at = character.vitals_at or datetime.fromtimestamp(0, UTC)
    return Balance(
        xp=character.xp,
        gold=character.gold,
        hp=character.hp,
        energy=character.energy,
        vitals=(int(at.timestamp()), str(character.vitals_session_id or "")),
        pieces=pieces,
        durability={r.id: r.durability for r in rows if r.durability is not None},
    )
