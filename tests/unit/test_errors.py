from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

from persistence.contract import errors
from persistence.contract.errors import (
    CharactersUnknown,
    CombatFinished,
    CombatInProgress,
    CombatNotRegistered,
    CombatRunning,
    DiscrepancyCode,
    DispatchFailed,
    DomainFailure,
    FailureCode,
    HandoffFailed,
    ItemNotOnBelt,
    ItemReserved,
    ItemSpent,
    ItemUnusable,
    NotInCombat,
    OperationConflict,
    OperationInvalid,
    OperationRefused,
    OperationUnanswered,
    ParkCode,
    PayloadConflict,
    PayloadInvalid,
    PersistenceError,
    ReceiptRaced,
    SettlementError,
    UseIdReused,
)

SESSION = "0192f3a4-5b6c-7d8e-9f01-555666777888"
FAULTS = [
    {"path": "participants.101.changes.xp_gaind", "message": "not known"},
    {"path": "", "message": "too much"},
]
EXAMPLES = [
    PersistenceError("detail"),
    PayloadInvalid("out_of_range", FAULTS),
    PayloadConflict(SESSION),
    HandoffFailed(SESSION, "Redis did not answer"),
    SettlementError("detail"),
    DomainFailure(SESSION, "unknown_item", "no such item"),
    ReceiptRaced([SESSION, "another"]),
    DispatchFailed("dispatch vitals", "character 101", "Redis is away"),
    CombatInProgress(101, SESSION),
    CombatFinished(SESSION),
    ItemReserved(101, SESSION, [55, 56]),
    OperationInvalid(101, FAULTS),
    CombatRunning(SESSION, [101, 102]),
    CharactersUnknown(SESSION, [103]),
    OperationRefused("trade-1", "shortage", "gold: 3 of 5", []),
    OperationConflict("trade-1"),
    OperationUnanswered("trade-1", "the server did not answer"),
    CombatNotRegistered(SESSION),
    NotInCombat(SESSION, 101),
    ItemUnusable(SESSION, 101, 55),
    ItemNotOnBelt(SESSION, 101, 55),
    ItemSpent(SESSION, 101, 55),
    UseIdReused(SESSION, 101, 55),
]


def all_errors(base: type[PersistenceError]) -> Iterator[type[PersistenceError]]:
    yield base
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from all_errors(child)


def test_every_error_has_an_example_here() -> None:
    public = {e for e in all_errors(PersistenceError) if e.__name__[0] != "_"}
    assert {type(e) for e in EXAMPLES} == public


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_errors_survive_pickling(error: PersistenceError, protocol: int) -> None:
    copy = pickle.loads(pickle.dumps(error, protocol))

    assert type(copy) is type(error)
    assert copy.args == error.args
    assert vars(copy) == vars(error)
    assert (copy.code, str(copy)) == (error.code, str(error))


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (EXAMPLES[1], ["[out_of_range]", FAULTS[0]["path"], "payload: too much"]),
        (EXAMPLES[2], ["[payload_conflict]", SESSION, "will not be applied"]),
        (EXAMPLES[3], ["[handoff_failed]", SESSION, "did not answer", "submit"]),
        (EXAMPLES[5], ["[unknown_item]", SESSION, "no such item"]),
        (EXAMPLES[6], ["[receipt_raced]", SESSION, "another"]),
        (EXAMPLES[7], ["[dispatch_failed]", "dispatch vitals", "101", "call again"]),
        (EXAMPLES[8], ["[combat_in_progress]", "101", SESSION]),
        (EXAMPLES[9], ["[combat_finished]", SESSION]),
        (EXAMPLES[10], ["[item_reserved]", "55, 56", "101", SESSION]),
        (EXAMPLES[11], ["[invalid_operation]", "101", FAULTS[0]["path"]]),
        (EXAMPLES[12], ["[combat_running]", SESSION, "101, 102"]),
        (EXAMPLES[13], ["[unknown_character]", SESSION, "103"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_messages_carry_the_code_and_the_ids(
    error: PersistenceError, parts: list[str]
) -> None:
    for part in parts:
        assert part in str(error)


def test_codes_of_classes_are_distinct() -> None:
    codes = [
        str(cls.code) for cls in all_errors(PersistenceError) if "code" in vars(cls)
    ]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "code",
    [
        *FailureCode,
        *DiscrepancyCode,
        *(str(cls.code) for cls in all_errors(PersistenceError)),
    ],
)
def test_codes_are_snake_case(code: str) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)


def test_failure_codes_are_stable() -> None:
    assert [str(code) for code in FailureCode] == [
        "invalid_payload",
        "out_of_range",
        "unknown_character",
        "unknown_item",
        "unknown_balance",
        "unknown_version",
        "shortage",
        "poison",
        "unexpected",
        "bad_session_id",
        "not_an_object",
        "too_large",
        "payload_conflict",
        "payload_lost",
        "result_missing",
        "state_moved",
        "unreadable_message",
        "bad_signature",
        "held_for_review",
    ]


def test_codes_of_parked_operations_are_stable() -> None:
    assert [str(code) for code in ParkCode] == [
        "invalid_operation",
        "op_id_reused",
        "unknown_character",
        "unknown_item",
        "item_gone",
        "item_not_owned",
        "item_shortage",
        "item_reserved",
        "not_allowed",
        "slot_taken",
        "out_of_range",
        "blocked",
        "bad_signature",
        "correction",
        "unexpected",
    ]


def test_discrepancy_codes_are_stable() -> None:
    assert [str(code) for code in DiscrepancyCode] == [
        "item_gone",
        "item_not_owned",
        "item_mismatch",
        "item_shortage",
        "item_reserved",
        "gold_shortage",
        "balance_shortage",
        "not_equipped",
        "no_durability",
        "undo_item_short",
        "undo_gold_short",
        "undo_xp_short",
        "undo_balance_short",
        "undo_wear_short",
    ]
