"""One test per row of the payload cases, and arbitrary JSON through the task.

Whatever comes ends as processed, failed or rejected: never as an exception out of the
task, never as a dead worker.
"""

from __future__ import annotations

import json
from typing import Any, cast
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from combat_history.models import (
    Character,
    CombatHistory,
    InventoryItem,
    LedgerLine,
    RejectedPayload,
    SettlementDiscrepancy,
)
from persistence.contract.document import MAX_DOCUMENT_BYTES, Document, readable
from persistence.contract.errors import PayloadInvalid
from persistence.engine.handoff import checked
from tests.conftest import Settle
from tests.support.documents import (
    HERO,
    POTION,
    hero_fight,
    make_document,
    make_participant,
    sample_document,
)
from tests.support.examples import examples
from tests.support.factories import add_character, add_item
from tests.support.ids import new_session_id
from tests.support.spelling import with_key_twice
from tests.unit.strategies import deep_values, gifts, typed_values


def status() -> tuple[str, str | None]:
    row = CombatHistory.objects.get()
    return row.settlement_status, row.failure_code


@pytest.mark.parametrize("strange", ['"\\u0000"', '"\\ud800"', "NaN", "1e400"])
def test_values_jsonb_refuses(settle_here: Settle, strange: str) -> None:
    settle_here(json.dumps(make_document(note="?")).replace('"?"', strange))

    assert status() == ("failed", "invalid_payload")


def test_nul_in_a_key(settle_here: Settle) -> None:
    settle_here({**make_document(), "\x00": 1})

    assert status() == ("failed", "invalid_payload")


@pytest.mark.parametrize("xp", [2**63, 10**400, -1, 1_000_000_001])
def test_amount_out_of_range(settle_here: Settle, xp: int) -> None:
    settle_here(hero_fight(xp_gained=xp))

    assert status() == ("failed", "out_of_range")


def test_huge_number_that_is_no_amount_is_kept(settle_here: Settle) -> None:
    document = make_document(note=10**400)

    settle_here(document)

    assert status() == ("processed", None)
    assert CombatHistory.objects.get().document() == document


def test_document_over_the_size_limit(settle_here: Settle) -> None:
    settle_here(make_document(replay_log=["x" * MAX_DOCUMENT_BYTES]))

    assert RejectedPayload.objects.get().code == "too_large"


def test_largest_document_is_settled(settle_here: Settle) -> None:
    document = make_document(replay_log=[""])
    room = MAX_DOCUMENT_BYTES - len(json.dumps(document, separators=(",", ":")))
    document["replay_log"] = ["x" * room]

    settle_here(json.dumps(document, separators=(",", ":")))

    assert status() == ("processed", None)
    assert CombatHistory.objects.get().document() == document


def test_unknown_keys_outside_changes_are_kept(settle_here: Settle) -> None:
    hero = {**make_participant(), "mood": "grim"}
    document = make_document(
        {str(HERO): hero}, engine_version=99, weather={"rain": True}
    )
    document["meta"]["arena"] = "pit"

    settle_here(document)

    assert status() == ("processed", None)
    assert CombatHistory.objects.get().document() == document


def test_an_unknown_version_fails_by_name(settle_here: Settle) -> None:
    document = make_document(schema_version=2, meta={"ended": "in another form"})

    settle_here(document)

    assert status() == ("failed", "unknown_version")
    detail = CombatHistory.objects.get().failure_detail
    assert detail == "schema_version: version 2 is not known; this release reads 1"
    assert not LedgerLine.objects.exclude(kind="opening").exists()


@pytest.mark.parametrize("part", ["items_consumed", "items_gained"])
def test_unknown_key_of_a_change_entry_is_refused(
    settle_here: Settle, part: str
) -> None:
    entry = {"item_template_id": "wolf_pelt", "qty": 1, "quality": 5}
    if part == "items_consumed":
        entry["inventory_id"] = POTION
    changes: dict[str, Any] = {part: [entry]}
    settle_here(hero_fight(**changes))

    assert status() == ("failed", "invalid_payload")
    assert "quality" in (CombatHistory.objects.get().failure_detail or "")


def test_one_unknown_character_fails_all(settle_here: Settle) -> None:
    document = sample_document()
    document["participants"]["404"] = make_participant()

    settle_here(document)

    assert status() == ("failed", "unknown_character")
    assert Character.objects.get().xp == 0


def test_one_invalid_participant_fails_all(settle_here: Settle) -> None:
    document = sample_document()
    document["participants"]["102"] = {"is_winner": True}

    settle_here(document)

    assert status() == ("failed", "invalid_payload")
    assert Character.objects.get().xp == 0


@pytest.mark.parametrize(
    ("row_id", "qty", "code", "applied"),
    [
        pytest.param(999, 1, "item_gone", 0, id="missing"),
        pytest.param(77, 1, "item_not_owned", 0, id="another's"),
        pytest.param(POTION, 8, "item_shortage", 5, id="too few"),
    ],
)
def test_inventory_that_does_not_cover_it(
    settle_here: Settle, row_id: int, qty: int, code: str, applied: int
) -> None:
    add_character(102)
    add_item(102, "hp_pot_small", 77, quantity=9)

    settle_here(
        hero_fight(xp_gained=7, items_consumed=[{"inventory_id": row_id, "qty": qty}])
    )

    assert status() == ("processed", None)
    line = SettlementDiscrepancy.objects.get()
    assert (line.code, line.wanted, line.applied) == (code, qty, applied)
    assert Character.objects.get(pk=HERO).xp == 7
    assert InventoryItem.objects.get(pk=77).quantity == 9


def test_unknown_template_in_loot(settle_here: Settle) -> None:
    settle_here(hero_fight(items_gained=[{"item_template_id": "unicorn", "qty": 1}]))

    assert status() == ("failed", "unknown_item")


def test_one_row_consumed_in_many_entries(settle_here: Settle) -> None:
    """An engine may log one entry per use, under the key `inv_id`."""
    uses = [{"inv_id": POTION, "qty": 1}] * 3 + [{"inventory_id": POTION, "qty": 1}]

    settle_here(hero_fight(items_consumed=uses))

    assert InventoryItem.objects.get(pk=POTION).quantity == 1
    (movement,) = LedgerLine.objects.get(kind="settlement").items
    assert movement["delta"] == -4


@pytest.mark.parametrize("reason", ["draw", "flee", "defeat"])
def test_fight_that_changed_nothing(settle_here: Settle, reason: str) -> None:
    document = hero_fight()
    document["meta"] |= {"winner_team": None, "finish_reason": reason}

    settle_here(document)

    assert status() == ("processed", None)
    line = LedgerLine.objects.get(kind="settlement")
    assert (line.xp_delta, line.gold_delta, line.items) == (0, 0, [])


def test_keys_that_try_to_be_sql_are_stored_as_they_are(settle_here: Settle) -> None:
    hostile = "a'); DROP TABLE combat_history; --"
    document = {**make_document(), hostile: {hostile: hostile}}
    document["participants"][hostile] = {hostile: "%s %b {}"}

    settle_here(document)

    assert status() == ("processed", None)
    assert CombatHistory.objects.get().document() == document


@pytest.mark.parametrize("key", ["__type__", "cls", "self", "_fields_set", "values"])
def test_ai_participant_may_have_any_key(settle_here: Settle, key: str) -> None:
    document = make_document()
    document["participants"]["goblin_1"] = {key: "warrior", "__value__": 1}

    settle_here(json.dumps(document))

    assert status() == ("processed", None)
    assert CombatHistory.objects.get().document() == document


_TEXT = st.text(st.characters(exclude_categories=[]), max_size=8)
_NUMBERS = st.integers() | st.floats() | st.sampled_from([2**31, 2**63, 10**18, -1, 0])
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3)
    ),
    max_leaves=8,
)
_WORDS = st.sampled_from(
    [
        *("101", "102", "0", "-7", "goblin_1", "9223372036854775808"),
        *("101.0", "1e2", "１０１", " 101", "player:101", "inv_id", "changes"),
        *("item:sword_epic", "inventory:56", "inventory:9223372036854775808"),
        *("cls", "qty", "name", "item_template_id", "items_gained", "team"),
    ]
)


def _paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        found += _paths(child, (*path, key))
    return found


_PATHS = _paths(sample_document(items_gained=[{}]))


# Up to a depth that the writer of these tests survives.
_ODD = _JSON | gifts() | deep_values(0, 300)


@st.composite
def near_documents(draw: st.DrawFn, values: st.SearchStrategy[Any] = _ODD) -> Document:
    """The sample with one to three places replaced, removed or added to."""
    document = sample_document(session_id=new_session_id())
    for path in draw(st.lists(st.sampled_from(_PATHS), min_size=1, max_size=3)):
        place: Any = document
        for key in path[:-1]:
            place = place.get(key) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            continue
        match draw(st.sampled_from(["replace", "remove", "repeat", "add"])):
            case "replace":
                place[path[-1]] = draw(values | _WORDS)
            case "remove":
                place.pop(path[-1], None)
            case "repeat":
                place[draw(_WORDS)] = place.get(path[-1])
            case _:
                place[draw(_WORDS | _TEXT)] = draw(values)
    if isinstance(document.get("session_id"), UUID):
        # Drawn ones come twice, and the second is a duplicate.
        document["session_id"] = new_session_id()
    return document


ANYTHING = near_documents() | _JSON


@settings(
    max_examples=examples(75),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    payload=ANYTHING | near_documents(typed_values()),
    form=st.sampled_from(["dict", "text", "a key twice"]),
)
def test_any_json_ends_as_processed_failed_or_rejected(
    settle_here: Settle, payload: Any, form: str
) -> None:
    ended, unexpected = _endings()
    text = readable(payload).decode("utf-8", "surrogatepass")
    if form == "a key twice":
        text = with_key_twice(text, "meta", {"finish_reason": "draw"})

    settle_here(payload if form == "dict" else text)

    assert _endings() == (ended + 1, unexpected)


@settings(
    max_examples=examples(2),
    suppress_health_check=list(HealthCheck),
)
@given(payloads=st.lists(ANYTHING, min_size=25, max_size=25))
def test_any_json_leaves_the_worker_alive(settle: Settle, payloads: list[Any]) -> None:
    ended, unexpected = _endings()

    settle(*map(json.dumps, payloads))

    assert _endings() == (ended + len(payloads), unexpected)


@settings(
    max_examples=examples(50),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(payload=ANYTHING)
def test_engine_and_worker_judge_any_json_alike(
    settle_here: Settle, payload: Any
) -> None:
    """`submit_combat` refuses what would fail by itself, and nothing else.

    Of the fight log it asks more than the worker, who keeps any.
    """
    if isinstance(payload, dict):
        payload.pop("replay_log", None)
    text = json.dumps(payload)
    try:
        checked(text)
        refused = None
    except PayloadInvalid as error:
        refused = error.code

    settle_here(text)

    if refused is None:
        assert _last_ending() in {"processed", "unknown_item", "unknown_character"}
    else:
        assert _last_ending() == refused


def _last_ending() -> str:
    """The newest row's status or code, whichever table holds it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(failure_code, settlement_status), received_at
            FROM combat_history
            UNION ALL SELECT code, last_seen_at FROM rejected_payloads
            ORDER BY 2 DESC LIMIT 1
            """
        )
        return str(cursor.fetchone()[0])


def _endings() -> tuple[int, int]:
    """Deliveries recorded in whatever way, and those whose reason nobody foresaw."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH endings AS (
                SELECT failure_code AS code, 1 AS times FROM combat_history
                UNION ALL SELECT code, times_seen FROM rejected_payloads)
            SELECT coalesce(sum(times), 0),
                   coalesce(sum(times) FILTER (WHERE code = 'unexpected'), 0)
            FROM endings
            """
        )
        return cast("tuple[int, int]", cursor.fetchone())
