"""What a process has read at its door is not read again when it settles it."""

from __future__ import annotations

from persistence.engine.handoff import unchecked
from persistence.worker import known
from tests.support.documents import make_document


def test_a_document_is_given_back_once_for_its_very_bytes() -> None:
    handoff = unchecked(make_document())
    known.keep(handoff)

    assert known.take(handoff.raw + b" ") is None
    found = known.take(handoff.raw)
    assert found is not None
    assert found.payload.session_id == handoff.session_id
    assert known.take(handoff.raw) is None


def test_one_that_breaks_the_contract_is_read_again() -> None:
    handoff = unchecked({"session_id": make_document()["session_id"]})
    known.keep(handoff)

    assert known.take(handoff.raw) is None
    assert known.take(None) is None


def test_large_ones_and_more_than_a_few_batches_are_not_kept() -> None:
    large = unchecked(make_document() | {"notes": "x" * known.MAX_BYTES})
    many = [unchecked(make_document()) for _ in range(known.MAX_DOCUMENTS + 1)]
    for handoff in [large, *many]:
        known.keep(handoff)

    assert known.take(large.raw) is None
    assert known.take(many[0].raw) is None
    assert all(known.take(handoff.raw) for handoff in many[1:])
