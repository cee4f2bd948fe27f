"""Checks of combats: nothing waits for ever, and every player finds his fights."""

from __future__ import annotations

from combat_history.reconcile.table_check import TableCheck

PENDING_OVERDUE = """
SELECT session_id, due_at, attempts
FROM combat_history
WHERE settlement_status = 'pending'
  AND due_at < now() - %(overdue_ms)s * interval '1 millisecond'
"""

# A document that jsonb refuses is kept as bytes: its players cannot be read here. Keys
# of 19 digits may exceed the ids there are.
PLAYERS_DIFFER = """
SELECT session_id, participant_ids
FROM combat_history_applied
CROSS JOIN LATERAL (
    SELECT array_agg(key ORDER BY key)
    FROM jsonb_object_keys(CASE jsonb_typeof(result_payload -> 'participants')
                           WHEN 'object' THEN result_payload -> 'participants' END) key
    WHERE key ~ '^[1-9][0-9]{0,18}$' AND lpad(key, 19, '0') <= '9223372036854775807'
) AS document (players)
CROSS JOIN LATERAL (
    SELECT array_agg(id::text ORDER BY id::text) FROM unnest(participant_ids) id
) AS listed (players)
WHERE raw_payload IS NULL AND listed.players IS DISTINCT FROM document.players
"""

# A row of the three-column INSERT has no hash, and no lines before it is settled.
PARTICIPANT_MISSING = """
SELECT combat.session_id, player.character_id
FROM combat_history combat
CROSS JOIN LATERAL unnest(combat.participant_ids) AS player (character_id)
LEFT JOIN combat_participants line
    ON line.character_id = player.character_id
    AND line.finished_at = combat.finished_at
    AND line.session_id = combat.session_id
WHERE line.session_id IS NULL
  AND (combat.payload_sha256 IS NOT NULL OR combat.settlement_status = 'processed')
"""

PARTICIPANT_ORPHAN = """
SELECT line.session_id, line.character_id, line.finished_at
FROM combat_participants line
LEFT JOIN combat_history combat
    ON combat.session_id = line.session_id
    AND combat.finished_at = line.finished_at
    AND line.character_id = ANY (combat.participant_ids)
WHERE combat.session_id IS NULL
"""

REPLAY_ORPHAN = """
SELECT fight_log.session_id
FROM combat_replay fight_log
LEFT JOIN combat_history combat USING (session_id)
WHERE combat.session_id IS NULL
"""

# What is left after forgetting players, by the last who was forgotten.
REDACTED_DIFFERS = """
SELECT session_id, redacted.payload_sha256
FROM (SELECT DISTINCT ON (session_id) session_id, payload_sha256
      FROM combat_redactions ORDER BY session_id, id DESC) redacted
JOIN combat_history combat USING (session_id)
WHERE redacted.payload_sha256
      <> encode(sha256(convert_to(combat.result_payload::text, 'UTF8')), 'hex')
"""

COMBAT_CHECKS = (
    TableCheck(
        "redacted_differs",
        "a redacted document is what the redaction left of it",
        REDACTED_DIFFERS,
        "the redaction left {payload_sha256}",
    ),
    TableCheck(
        "pending_overdue",
        "no pending combat is past its due time",
        PENDING_OVERDUE,
        "due since {due_at:%Y-%m-%d %H:%M:%S} UTC, {attempts} tries never ended",
    ),
    TableCheck(
        "players_differ",
        "participant_ids are the players of the document",
        PLAYERS_DIFFER,
        "participant_ids are {participant_ids}, the document names others",
    ),
    TableCheck(
        "participant_missing",
        "every combat is found under each of its players",
        PARTICIPANT_MISSING,
        "no line in combat_participants",
    ),
    TableCheck(
        "participant_orphan",
        "every line of combat_participants has its combat",
        PARTICIPANT_ORPHAN,
        "no combat of this player at {finished_at:%Y-%m-%d %H:%M:%S} UTC",
    ),
    TableCheck(
        "replay_orphan",
        "every fight log has its combat",
        REPLAY_ORPHAN,
        "a fight log without a combat",
    ),
)
