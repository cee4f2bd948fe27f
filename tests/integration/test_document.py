"""What was sent comes back: `CombatHistory.document()` over every shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from combat_history.models import CombatHistory, CombatReplay
from persistence.contract.document import Document, canonical_json
from persistence.contract.fight_log import unpack
from persistence.contract.identity import identity
from persistence.engine.handoff import checked
from tests.conftest import Settle
from tests.support.documents import make_document, sample_document
from tests.support.examples import examples

# Text that jsonb holds: no NUL, no lone surrogate.
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
# A float without a fraction and beyond 2**53 is an integer to jsonb.
_FLOATS = st.floats(-(2.0**53), 2.0**53)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _FLOATS | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner),
    max_leaves=20,
)
_TURN = st.fixed_dictionaries(
    {"turn": st.integers(0, 99), "actor": _TEXT, "action": _TEXT},
    optional={"amount": st.integers(), "hp": st.dictionaries(_TEXT, st.integers())},
)
_REPLAY = st.none() | _TEXT | st.lists(_TURN, max_size=5) | st.lists(_JSON, max_size=5)


def stored(document: Document) -> CombatHistory:
    return CombatHistory.objects.get(pk=document["session_id"])


# What is given to an AI participant is refused.
_MADE_UP = st.dictionaries(
    _TEXT.filter(lambda key: key not in ("changes", "ui_report")), _JSON, max_size=3
)


@settings(
    max_examples=examples(30),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(replay_log=_REPLAY, as_text=st.booleans())
def test_any_fight_log_comes_back_as_it_was_sent(
    settle_here: Settle, replay_log: Any, as_text: bool
) -> None:
    document = {**make_document(), "replay_log": replay_log}

    settle_here(json.dumps(document) if as_text else document)

    row = stored(document)
    assert canonical_json(row.document()) == canonical_json(document)
    assert "replay_log" not in row.result_payload


@settings(
    max_examples=examples(30),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(extra=_JSON, in_meta=_JSON, in_ai=_MADE_UP)
def test_any_unknown_key_comes_back_as_it_was_sent(
    settle_here: Settle, extra: Any, in_meta: Any, in_ai: dict[str, Any]
) -> None:
    document = make_document(extra=extra)
    document["meta"]["extra"] = in_meta
    document["participants"]["-5"] = in_ai

    settle_here(json.dumps(document))

    row = stored(document)
    assert row.settlement_status == "processed"
    assert row.document() == document
    assert row.payload_sha256 == identity(document)


def test_document_without_fight_log_has_none(settle_here: Settle) -> None:
    document = make_document()

    settle_here(document)

    assert stored(document).document() == document
    assert not CombatReplay.objects.exists()


@pytest.mark.parametrize("replay_log", [None, [], "", "KLUv/QQAAQAA"])
def test_empty_and_packed_fight_logs_are_told_apart(
    settle_here: Settle, replay_log: Any
) -> None:
    document = make_document(replay_log=replay_log)

    settle_here(document)

    assert stored(document).document() == document


def test_hash_is_the_same_for_dict_text_and_engine(settle_here: Settle) -> None:
    """And for any order of keys, spacing and escaping."""
    document = sample_document()
    shuffled = dict(reversed(document.items()))
    forms = (document, json.dumps(shuffled, indent=3), json.dumps(document).encode())

    hashes = {checked(form).sha256 for form in forms}

    settle_here(
        document, *[json.dumps(form, indent=1) for form in (document, shuffled)]
    )
    assert hashes == {stored(document).payload_sha256}


def test_failed_document_comes_back_too(settle_here: Settle) -> None:
    document = make_document(replay_log=[1], meta={"end_timestamp": "soon"})

    settle_here(document)

    assert stored(document).settlement_status == "failed"
    assert stored(document).document() == document


def test_view_and_model_tell_the_same(settle_here: Settle) -> None:
    document = sample_document()
    settle_here(document)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT result_payload::text, replay_log_zstd FROM combat_history_full"
        )
        ((payload, replay),) = cursor.fetchall()

    rejoined = {**json.loads(payload), "replay_log": unpack(bytes(replay))}
    assert rejoined == stored(document).document() == document
