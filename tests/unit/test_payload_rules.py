"""Contract 3.2 rule by rule: what is refused, at which path and with which code."""

from __future__ import annotations

from typing import Any

import pytest

from persistence.contract.changes import (
    MAX_AMOUNT,
    MAX_BIGINT,
    MAX_ENTRIES,
    MAX_QUANTITY,
)
from persistence.contract.meta import MAX_NAME, MIN_END_TIMESTAMP
from persistence.contract.payload import session_id_of, validate
from tests.unit.builders import paths, refusal, sample, sample_with, sample_without

CHANGES = "participants.101.changes"


def test_the_seeds_sample_is_valid_as_it_stands() -> None:
    payload = validate(sample())

    assert str(payload.session_id) == "0192f3a4-5b6c-7d8e-9f01-555666777888"
    assert payload.finished_at.isoformat() == "2024-12-29T08:13:20+00:00"
    player = payload.players()[101]
    assert player.changes.xp_gained == 1250
    assert player.changes.gold_gained == 100
    assert player.changes.items_consumed[0].inventory_id == 55
    assert player.changes.durability_loss == {"item:sword_epic": 5}
    assert [(loot.name, loot.qty) for loot in player.loot()] == [("Шкура волка", 1)]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("session_id", "0192F3A45B6C7D8E9F01555666777888"),
        ("session_id", "AZLzpFtsfY6fAVVWZnd4iA"),
        ("meta.winner_team", None),
        ("meta.finish_reason", "defeat"),
        ("meta.finish_reason", "flee"),
        ("meta.finish_reason", "draw"),
        ("participants.101.state_snapshot", None),
        ("participants.101.team", "blue"),
        ("participants.101.name", "Ратибор"),
        ("participants.101.ui_report", {}),
        (f"{CHANGES}", {}),
        (f"{CHANGES}.xp_gained", 0),
        (f"{CHANGES}.xp_gained", MAX_AMOUNT),
        (f"{CHANGES}.gold_gained", -40),
        (f"{CHANGES}.gold_gained", -MAX_AMOUNT),
        (f"{CHANGES}.items_consumed", [{"inv_id": 55, "qty": MAX_QUANTITY}]),
        (f"{CHANGES}.items_consumed", [{"inventory_id": MAX_BIGINT, "qty": 1}]),
        (f"{CHANGES}.durability_loss", {"inventory:7": 0}),
        (f"{CHANGES}.items_gained", None),
        (f"{CHANGES}.items_gained", [{"item_template_id": "x" * 64, "qty": 1}]),
        (f"participants.{MAX_BIGINT}", sample()["participants"]["101"]),
        ("replay_log", None),
        ("replay_log", []),
        ("replay_log", [{"any": ["shape"]}, 7, "text"]),
        ("replay_log", "KLUv/SAAAQAA"),
    ],
)
def test_values_at_the_edge_of_the_contract_are_accepted(
    path: str, value: object
) -> None:
    validate(sample_with(path, value))


@pytest.mark.parametrize("path", ["session_id", "meta", "participants"])
def test_a_missing_part_is_named(path: str) -> None:
    assert paths(refusal(sample_without(path))) == [path]


@pytest.mark.parametrize(
    "path",
    [
        "meta.end_timestamp",
        "meta.finish_reason",
        "participants.101.is_winner",
        "participants.101.changes",
        "participants.101.state_snapshot.hp",
        "participants.101.state_snapshot.energy",
    ],
)
def test_a_missing_field_is_named(path: str) -> None:
    error = refusal(sample_without(path))

    assert (error.code, paths(error)) == ("invalid_payload", [path])


def test_only_the_fight_log_the_report_and_the_snapshot_may_be_absent() -> None:
    document = sample_without("replay_log")
    del document["participants"]["101"]["ui_report"]
    del document["participants"]["101"]["state_snapshot"]
    del document["meta"]["winner_team"]

    payload = validate(document)

    assert payload.players()[101].loot() == []
    assert payload.players()[101].state_snapshot is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{CHANGES}.xp_gained", -1),
        (f"{CHANGES}.xp_gained", MAX_AMOUNT + 1),
        (f"{CHANGES}.xp_gained", 10**400),
        (f"{CHANGES}.gold_gained", MAX_AMOUNT + 1),
        (f"{CHANGES}.gold_gained", -MAX_AMOUNT - 1),
        (f"{CHANGES}.durability_loss.item:sword_epic", -1),
        (f"{CHANGES}.durability_loss.item:sword_epic", MAX_AMOUNT + 1),
        ("participants.101.state_snapshot.hp", -1),
        ("participants.101.state_snapshot.energy", MAX_AMOUNT + 1),
        ("meta.end_timestamp", 0),
        ("meta.end_timestamp", -1),
    ],
)
def test_a_number_beyond_its_bound_is_out_of_range(path: str, value: object) -> None:
    error = refusal(sample_with(path, value))

    assert paths(error) == [path]
    assert error.code == "out_of_range"


@pytest.mark.parametrize(
    "path", ["meta.winner_team", "participants.101.name", "participants.101.team"]
)
def test_names_are_bounded(path: str) -> None:
    validate(sample_with(path, "n" * MAX_NAME))

    error = refusal(sample_with(path, "n" * (MAX_NAME + 1)))

    assert (error.code, paths(error)) == ("invalid_payload", [path])


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"inventory_id": 55, "qty": 0}, "qty"),
        ({"inventory_id": 55, "qty": -2}, "qty"),
        ({"inventory_id": 55, "qty": MAX_QUANTITY + 1}, "qty"),
        ({"inventory_id": 0, "qty": 1}, "inventory_id"),
        ({"inventory_id": MAX_BIGINT + 1, "qty": 1}, "inventory_id"),
        ({"inv_id": MAX_BIGINT + 1, "qty": 1}, "inv_id"),
    ],
)
def test_consumption_is_bounded(entry: dict[str, Any], field: str) -> None:
    error = refusal(sample_with(f"{CHANGES}.items_consumed", [entry]))

    assert paths(error) == [f"{CHANGES}.items_consumed.0.{field}"]
    assert error.code == "out_of_range"


@pytest.mark.parametrize("value", [True, 1.0, 1.5, "1", None, [1]])
@pytest.mark.parametrize(
    "path",
    [
        f"{CHANGES}.xp_gained",
        f"{CHANGES}.gold_gained",
        f"{CHANGES}.durability_loss.item:sword_epic",
        "participants.101.state_snapshot.hp",
        "meta.end_timestamp",
    ],
)
def test_only_integers_are_numbers(path: str, value: object) -> None:
    error = refusal(sample_with(path, value))

    assert (error.code, paths(error)) == ("invalid_payload", [path])


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_only_booleans_are_flags(value: object) -> None:
    error = refusal(sample_with("participants.101.is_winner", value))

    assert paths(error) == ["participants.101.is_winner"]


@pytest.mark.parametrize(
    "path",
    [
        f"{CHANGES}.xp_gaind",
        f"{CHANGES}.gold",
        f"{CHANGES}.honour_gained",
    ],
)
def test_an_unknown_key_inside_changes_is_refused(path: str) -> None:
    error = refusal(sample_with(path, 5))

    assert (error.code, paths(error)) == ("invalid_payload", [path])


@pytest.mark.parametrize(
    ("field", "entry"),
    [
        ("items_consumed", {"inventory_id": 55, "qty": 1, "amount": 1}),
        ("items_gained", {"item_template_id": "x", "qty": 1, "amount": 1}),
    ],
)
def test_an_unknown_key_of_an_item_entry_is_refused(
    field: str, entry: dict[str, Any]
) -> None:
    error = refusal(sample_with(f"{CHANGES}.{field}", [entry]))

    assert paths(error) == [f"{CHANGES}.{field}.0.amount"]


@pytest.mark.parametrize(
    "path",
    [
        "engine_version",
        "meta.arena",
        "participants.101.rank",
        "participants.101.loot",
        "participants.101.state_snapshot.shield",
        "participants.101.ui_report.damage_taken",
        "participants.101.ui_report.loot_obtained.0.rarity",
    ],
)
def test_an_unknown_key_elsewhere_is_kept(path: str) -> None:
    document = sample_with(path, {"kept": [1, None]})

    assert validate(document).document() == document


def test_the_version_of_the_contract_may_be_named() -> None:
    document = sample_with("schema_version", 1)

    assert validate(document).document() == document


@pytest.mark.parametrize("version", [0, 2, 99, "1", None, True, 1.5, [1], {"a": 1}])
def test_another_version_is_refused_before_all_else(version: object) -> None:
    document = sample_with("schema_version", version)
    document["meta"] = "in another form"

    error = refusal(document)

    assert (error.code, paths(error)) == ("unknown_version", ["schema_version"])
    assert repr(version) in str(error)


def test_the_seeds_inv_id_is_an_alias() -> None:
    payload = validate(
        sample_with(f"{CHANGES}.items_consumed", [{"inv_id": 55, "qty": 1}])
    )

    assert payload.players()[101].changes.items_consumed[0].inventory_id == 55


def test_an_item_named_twice_is_refused() -> None:
    entry = {"inv_id": 55, "inventory_id": 56, "qty": 1}

    error = refusal(sample_with(f"{CHANGES}.items_consumed", [entry]))

    assert paths(error) == [f"{CHANGES}.items_consumed.0.inv_id"]
    assert error.code == "invalid_payload"


@pytest.mark.parametrize("entry", [{"qty": 1}, {"item_template_id": "hp", "qty": 1}])
def test_consumption_names_a_row(entry: dict[str, Any]) -> None:
    error = refusal(sample_with(f"{CHANGES}.items_consumed", [entry]))

    assert paths(error) == [f"{CHANGES}.items_consumed.0.inventory_id"]


@pytest.mark.parametrize(
    "target", ["sword_epic", "item:", "inventory:", "inventory:0", "inventory:-5", ""]
)
def test_wear_names_a_template_or_a_row(target: str) -> None:
    error = refusal(sample_with(f"{CHANGES}.durability_loss", {target: 5}))

    assert error.code == "invalid_payload"
    assert paths(error) == [f"{CHANGES}.durability_loss.{target}.[key]"]


def test_wear_of_a_row_beyond_bigint_is_refused() -> None:
    target = f"inventory:{MAX_BIGINT + 1}"

    error = refusal(sample_with(f"{CHANGES}.durability_loss", {target: 5}))

    assert paths(error)[0].startswith(f"{CHANGES}.durability_loss")


@pytest.mark.parametrize("template_id", ["", "x" * 65, "hp\x00pot"])
def test_template_ids_fit_their_column(template_id: str) -> None:
    entry = {"item_template_id": template_id, "qty": 1}

    error = refusal(sample_with(f"{CHANGES}.items_gained", [entry]))

    assert paths(error) == [f"{CHANGES}.items_gained.0.item_template_id"]


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        (f"{CHANGES}.items_consumed", {"inventory_id": 5, "qty": 1}),
        (f"{CHANGES}.items_gained", {"item_template_id": "x", "qty": 1}),
        ("participants.101.ui_report.loot_obtained", {"name": "x", "qty": 1}),
    ],
)
def test_lists_of_items_are_bounded(path: str, entry: dict[str, Any]) -> None:
    validate(sample_with(path, [entry] * MAX_ENTRIES))

    error = refusal(sample_with(path, [entry] * (MAX_ENTRIES + 1)))

    assert (error.code, paths(error)) == ("out_of_range", [path])


@pytest.mark.parametrize("seconds", [MIN_END_TIMESTAMP, 4_000_000_000, 10**11])
def test_no_clock_is_asked_for_the_end_of_a_fight(seconds: int) -> None:
    document = sample_with("meta.end_timestamp", seconds)

    assert validate(document).meta.end_timestamp == seconds


@pytest.mark.parametrize(
    "stamp", [1, 17_354_600, MIN_END_TIMESTAMP - 1, 10**11 + 1, 1_735_460_000_000]
)
def test_an_end_of_another_unit_is_refused_by_name(stamp: int) -> None:
    error = refusal(sample_with("meta.end_timestamp", stamp))

    assert (error.code, paths(error)) == ("invalid_payload", ["meta.end_timestamp"])
    assert "wrong unit" in error.errors[0]["message"]


@pytest.mark.parametrize("reason", ["won", "Victory", "", None, 1])
def test_an_unknown_finish_reason_is_refused(reason: object) -> None:
    error = refusal(sample_with("meta.finish_reason", reason))

    assert (error.code, paths(error)) == ("invalid_payload", ["meta.finish_reason"])


@pytest.mark.parametrize("reason", ["won", "abandoned"])
def test_what_is_the_sweeps_alone_is_not_offered(reason: str) -> None:
    (fault,) = refusal(sample_with("meta.finish_reason", reason)).errors

    assert fault["message"] == "expected one of victory, defeat, flee, draw"


@pytest.mark.parametrize("value", [{}, 5, True, 1.5])
def test_a_fight_log_is_a_list_or_a_string(value: object) -> None:
    error = refusal(sample_with("replay_log", value))

    assert (error.code, paths(error)) == ("invalid_payload", ["replay_log"])


@pytest.mark.parametrize(
    "value", ["uuid-555-666", "", 5, None, [], {}, "0192f3a4-5b6c-7d8e-9f01"]
)
def test_a_session_id_of_no_known_form_has_a_code_of_its_own(value: object) -> None:
    error = refusal(sample_with("session_id", value))

    assert (error.code, paths(error)) == ("bad_session_id", ["session_id"])
    with pytest.raises(type(error)) as caught:
        session_id_of(sample_with("session_id", value))
    assert caught.value.code == "bad_session_id"


def test_every_fault_is_reported_at_once() -> None:
    document = sample_with(f"{CHANGES}.xp_gaind", 1)
    document["meta"]["finish_reason"] = "won"
    document["participants"]["101"]["state_snapshot"]["hp"] = -1

    error = refusal(document)

    assert sorted(paths(error)) == [
        "meta.finish_reason",
        f"{CHANGES}.xp_gaind",
        "participants.101.state_snapshot.hp",
    ]
    # One fault that is more than a number out of its bounds decides the code.
    assert error.code == "invalid_payload"


def test_a_forced_save_gives_nothing() -> None:
    document = sample_with("meta.finish_reason", "abandoned")
    document["meta"]["forced"] = True
    player = document["participants"]["101"]
    player["changes"]["items_gained"] = [{"item_template_id": "fur", "qty": 1}]

    assert paths(refusal(document)) == [
        f"{CHANGES}.xp_gained",
        f"{CHANGES}.gold_gained",
        f"{CHANGES}.items_gained",
        "participants.101.ui_report.loot_obtained",
    ]

    # What was used up and worn stays taken.
    player["changes"].update(xp_gained=0, gold_gained=0, items_gained=[])
    player["ui_report"]["loot_obtained"] = []
    assert validate(document).meta.forced
