"""Forgetting a player: names, external ids and free texts go, every number stays.

Of a combat that is over the document keeps the contract's fields, without the player's
name, and the fight log goes; the original hash stays, and a redaction says that what is
left is not what was received (docs/decisions/0052). Operations of the game lose their
reasons, and the team its note. What waits for a decision is left alone. In batches,
each a transaction; a run that was stopped goes on with the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from combat_history.models import (
    Character,
    CombatHistory,
    CombatParticipant,
    CombatRedaction,
    ExternalId,
    RejectedPayload,
    Status,
    Triage,
    operations_of,
)
from persistence.contract import redis_keys
from persistence.worker import inbox

BATCH = 100
OVER = (Status.PROCESSED, Status.VOIDED)

# The hash is PostgreSQL's own of its own text: reconcile computes it again.
RECORD = """
INSERT INTO combat_redactions (session_id, character_id, payload_sha256)
SELECT session_id, %(player)s,
       encode(sha256(convert_to(document::text, 'UTF8')), 'hex')
FROM (
    SELECT session_id, combat_forgotten(result_payload, %(player)s) AS document
    FROM combat_history WHERE session_id = ANY(%(sessions)s)
    ORDER BY session_id FOR NO KEY UPDATE
) left_over
"""

REDACT = """
UPDATE combat_history SET
    result_payload = combat_forgotten(result_payload, %(player)s),
    raw_payload = CASE WHEN raw_payload IS NOT NULL THEN ''::bytea END
WHERE session_id = ANY(%(sessions)s)
"""

REDACT_REVISIONS = """
UPDATE combat_revisions SET
    document = combat_forgotten(document, %(player)s), diff = '[]'
WHERE session_id = ANY(%(sessions)s)
"""

DROP_FIGHT_LOGS = "DELETE FROM combat_replay WHERE session_id = ANY(%(sessions)s)"


@dataclass(frozen=True, slots=True)
class Held:
    """What there is of a player. `waiting`: combats without an end, left alone."""

    name: str | None
    combats: int
    waiting: int
    rejected: int


def held(character_id: int) -> Held:
    named = Character.objects.filter(pk=character_id).values_list("name", flat=True)
    return Held(
        named.first(),
        sum(len(batch) for batch in _combats(character_id)),
        _histories(character_id).exclude(settlement_status__in=OVER).count(),
        _rejected(character_id).count(),
    )


def forget(character_id: int) -> Iterator[int]:
    """Forget; the number of combats of each batch. Raises RedisError, and goes on."""
    for sessions in _combats(character_id):
        _drop_raw(sessions)
        parameters: dict[str, Any] = {"player": character_id, "sessions": sessions}
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in (RECORD, REDACT, REDACT_REVISIONS, DROP_FIGHT_LOGS):
                cursor.execute(statement, parameters)
        yield len(sessions)
    with transaction.atomic():
        _rejected(character_id).update(raw=None, errors=[])
        operations_of(character_id).exclude(reason="").update(reason="")
        ExternalId.objects.filter(character_id=character_id).delete()
        Triage.objects.filter(
            kind=Triage.Kind.PLAYER, target_id=str(character_id)
        ).delete()
        Character.objects.filter(pk=character_id).update(name=f"#{character_id}")


def _combats(character_id: int) -> Iterator[list[UUID]]:
    """Those that are over and are not redacted yet, by the player's own key."""
    rows = CombatParticipant.objects.filter(character_id=character_id)
    rows = rows.order_by("finished_at", "session_id")
    key: tuple[Any, ...] | None = None
    while True:
        beyond = rows if key is None else rows.filter(pk__gt=(character_id, *key))
        page = list(beyond.values_list("finished_at", "session_id")[:BATCH])
        if not page:
            return
        key = page[-1]
        if sessions := _open([session_id for _, session_id in page], character_id):
            yield sessions


def _open(sessions: Sequence[UUID], character_id: int) -> list[UUID]:
    done = CombatRedaction.objects.filter(
        session_id__in=sessions, character_id=character_id
    )
    over = CombatHistory.objects.filter(pk__in=sessions, settlement_status__in=OVER)
    ids = over.exclude(pk__in=done.values("session_id"))
    return list(ids.order_by("pk").values_list("pk", flat=True))


def _histories(character_id: int) -> Any:
    own = CombatParticipant.objects.filter(character_id=character_id)
    return CombatHistory.objects.filter(pk__in=own.values("session_id"))


def _rejected(character_id: int) -> Any:
    named = RejectedPayload.objects.filter(participant_ids__contains=[character_id])
    return named.filter(raw__isnull=False)


def _drop_raw(sessions: Sequence[UUID]) -> None:
    """Kept a while by SETTLEMENT_RAW_RETENTION_SECONDS; a tombstone lives a day."""
    pipeline = inbox.client().pipeline(transaction=False)
    for session_id in sessions:
        pipeline.hdel(redis_keys.result(session_id), "raw")
    pipeline.execute()
