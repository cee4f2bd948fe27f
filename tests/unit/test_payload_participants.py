"""Contract 3.2: who takes part under which key, and what loot they get."""

from __future__ import annotations

from typing import Any

import pytest

from persistence.contract.changes import MAX_BIGINT
from persistence.contract.payload import (
    MAX_PARTICIPANTS,
    AiParticipant,
    player_ids,
    validate,
)
from tests.unit.builders import paths, refusal, sample, sample_with

CHANGES = "participants.101.changes"


@pytest.mark.parametrize("key", ["-101", "goblin_1", "", "1a", "5-5", "player:101"])
def test_a_key_that_is_no_number_is_ai(key: str) -> None:
    document = sample()
    document["participants"][key] = {"any": "shape", "changes": {"xp_gained": 0}}

    payload = validate(document)

    assert isinstance(payload.participants[key], AiParticipant)
    assert list(payload.players()) == [101]
    assert player_ids(document) == [101]
    assert payload.document() == document


@pytest.mark.parametrize(
    "entry", [{"cls": "orc"}, {"_fields_set": []}, {"model_config": 1}, {"self": {}}]
)
def test_an_ai_may_carry_any_keys(entry: dict[str, Any]) -> None:
    document = sample_with("participants.goblin_1", entry)

    assert validate(document).document() == document


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ({"changes": {"xp_gained": 5}}, "changes.xp_gained"),
        ({"changes": {"gold_gained": -5}}, "changes.gold_gained"),
        ({"changes": {"goldGained": 0.5}}, "changes.goldGained"),
        ({"changes": {"items_consumed": [{"inv_id": 5}]}}, "changes.items_consumed"),
        ({"changes": {"items_gained": [{}]}}, "changes.items_gained"),
        (
            {"changes": {"durability_loss": {"item:x": 0, "item:y": 1}}},
            "changes.durability_loss",
        ),
        ({"changes": {"any": {"deeper": {"gold": 5}}}}, "changes.any"),
        ({"changes": "5 gold"}, "changes"),
        ({"changes": [{"gold": 5}]}, "changes"),
        ({"changes": 5}, "changes"),
        ({"ui_report": {"loot_obtained": [{"name": "x"}]}}, "ui_report.loot_obtained"),
    ],
)
@pytest.mark.parametrize("key", ["player:101", "-101", "goblin_1"])
def test_what_is_given_to_no_player_is_refused(
    key: str, entry: dict[str, Any], path: str
) -> None:
    error = refusal(sample_with(f"participants.{key}", entry))

    assert (error.code, paths(error)) == (
        "invalid_payload",
        [f"participants.{key}.{path}"],
    )


@pytest.mark.parametrize(
    "changes",
    [
        None,
        {},
        [],
        {"xp_gained": 0, "items_consumed": [], "durability_loss": {"item:x": 0}},
        {"items_gained": None, "note": "", "odds": -0.0},
    ],
)
def test_an_ai_that_is_given_nothing_is_kept(changes: object) -> None:
    entry = {"changes": changes, "ui_report": {"loot_obtained": [], "damage": 5}}

    validate(sample_with("participants.goblin_1", entry))


@pytest.mark.parametrize("entry", ["orc", 5, None, [], True])
def test_an_ai_is_an_object(entry: object) -> None:
    error = refusal(sample_with("participants.goblin_1", entry))

    assert error.code == "invalid_payload"
    assert paths(error) == ["participants"]
    assert "'goblin_1' must be an object" in error.errors[0]["message"]


@pytest.mark.parametrize(
    "key",
    [
        *("007", "+5", " 5", "5 ", "5\n", "0", "00", "99999999999999999999"),
        *("101.0", "10.5", ".5", "1e2", "1E+2", "1.01e2", "0x65", "0b11", "-5.0"),
        *("1_000", "1,000", "1 000", "1\u202f000", "1'000", "10\u200b1", "\ufeff5"),
        *("１０１", "٠١", "٣", "१०१", "𝟙𝟘𝟙", "²", "½", "①", "Ⅷ", "−5", "- 5", "-٥"),
    ],
)
def test_a_number_that_is_no_canonical_id_is_refused(key: str) -> None:
    document = sample()
    document["participants"][key] = {}

    error = refusal(document)

    assert error.code == "invalid_payload"
    assert paths(error) == ["participants"]
    assert repr(key) in error.errors[0]["message"]


def test_a_player_id_beyond_bigint_is_refused() -> None:
    key = str(MAX_BIGINT + 1)

    error = refusal(sample_with(f"participants.{key}", sample()["participants"]["101"]))

    assert [fault for fault in error.errors if key in f"{fault}"]


@pytest.mark.parametrize("value", [{}, [], None])
def test_participants_are_an_object_of_at_least_one(value: object) -> None:
    error = refusal(sample_with("participants", value))

    assert (error.code, paths(error)) == ("invalid_payload", ["participants"])


def test_the_number_of_participants_is_bounded() -> None:
    part = sample()["participants"]["101"]
    keys = range(1, MAX_PARTICIPANTS + 2)

    error = refusal(sample_with("participants", {str(key): part for key in keys}))

    assert (error.code, paths(error)) == ("out_of_range", ["participants"])


def test_players_come_in_the_order_of_their_ids() -> None:
    part = sample()["participants"]["101"]
    keys = ["1000", "9", "101", "20"]
    ai: dict[str, Any] = {"goblin": {}, "-9": {}}

    payload = validate(sample_with("participants", {**ai, **dict.fromkeys(keys, part)}))

    assert list(payload.players()) == [9, 20, 101, 1000]


def test_loot_comes_from_the_report_where_items_gained_is_absent() -> None:
    loot = validate(sample()).players()[101].loot()

    assert [(entry.item_template_id, entry.name) for entry in loot] == [
        (None, "Шкура волка")
    ]


def test_items_gained_wins_over_the_report() -> None:
    gained = [{"item_template_id": "wolf_hide", "qty": 3}]

    loot = (
        validate(sample_with(f"{CHANGES}.items_gained", gained)).players()[101].loot()
    )

    assert [(entry.item_template_id, entry.qty) for entry in loot] == [("wolf_hide", 3)]


def test_empty_items_gained_means_no_loot() -> None:
    payload = validate(sample_with(f"{CHANGES}.items_gained", []))

    assert payload.players()[101].loot() == []


def test_shown_loot_counts_one_where_no_quantity_is_given() -> None:
    document = sample_with(
        "participants.101.ui_report.loot_obtained", [{"item_template_id": "wolf_hide"}]
    )

    assert [entry.qty for entry in validate(document).players()[101].loot()] == [1]


def test_loot_with_neither_name_nor_id_is_refused() -> None:
    path = "participants.101.ui_report.loot_obtained"

    error = refusal(sample_with(path, [{"name": "ok"}, {"qty": 2}]))

    assert (error.code, paths(error)) == ("invalid_payload", [f"{path}.1"])
    assert "item_template_id or name" in error.errors[0]["message"]


@pytest.mark.parametrize(
    ("participants", "ids"),
    [
        ({"101": None, "7": {}, "-3": {}, "goblin": {}, "007": {}}, [7, 101]),
        ({str(MAX_BIGINT): {}, str(MAX_BIGINT + 1): {}}, [MAX_BIGINT]),
        ([], []),
        (None, []),
    ],
)
def test_player_ids_are_read_from_an_invalid_document_too(
    participants: object, ids: list[int]
) -> None:
    assert player_ids({"participants": participants}) == ids
