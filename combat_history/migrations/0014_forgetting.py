"""A player may be forgotten: the one change of a document that the guards let through.

It takes out of a combat that is over what is nobody's concern any more, leaves every
number, and is recorded in the same transaction, with the hash of what is left.
"""

from __future__ import annotations

from django.contrib.postgres.functions import TransactionNow
from django.db import migrations, models

FORGOTTEN = """
CREATE FUNCTION json_kept(object jsonb, names text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(object) WHEN 'object' THEN
        (SELECT coalesce(jsonb_object_agg(key, value), '{}')
         FROM jsonb_each(object) WHERE key = ANY(names))
    ELSE '{}' END
$$;

-- The contract's fields alone: texts of the game, and all that it added, go.
CREATE FUNCTION combat_forgotten(document jsonb, player bigint) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT json_kept(document, '{session_id}')
        || jsonb_build_object(
            'meta',
            json_kept(document -> 'meta', '{end_timestamp,winner_team,finish_reason}'),
            'participants',
            (SELECT coalesce(jsonb_object_agg(
                 id,
                 json_kept(part, '{is_winner,state_snapshot,changes,team}')
                 || CASE WHEN id IN (player::text, (-player)::text) THEN '{}'
                         ELSE json_kept(part, '{name}') END
                 || CASE WHEN part -> 'ui_report' ? 'loot_obtained'
                         THEN jsonb_build_object('ui_report',
                             json_kept(part -> 'ui_report', '{loot_obtained}'))
                         ELSE '{}' END), '{}')
             FROM jsonb_each(CASE jsonb_typeof(document -> 'participants')
                 WHEN 'object' THEN document -> 'participants' ELSE '{}' END)
                 AS one (id, part)))
$$;

-- By the time of its transaction: a record of yesterday opens nothing.
CREATE FUNCTION combat_may_become(session uuid, was jsonb, becomes jsonb)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM combat_redactions r
        WHERE r.session_id = session AND r.redacted_at = now()
          AND becomes = combat_forgotten(was, r.character_id))
$$;
"""
DROP_FORGOTTEN = """
DROP FUNCTION combat_may_become(uuid, jsonb, jsonb);
DROP FUNCTION combat_forgotten(jsonb, bigint);
DROP FUNCTION json_kept(jsonb, text[]);
"""

HISTORY_GUARD = """
CREATE OR REPLACE FUNCTION combat_history_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'combat % is history and is never deleted', OLD.session_id
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'combat_history_never_deleted';
    END IF;
    IF (NEW.session_id, NEW.finished_at, NEW.received_at)
           IS DISTINCT FROM
       (OLD.session_id, OLD.finished_at, OLD.received_at)
       OR NEW.participant_ids IS DISTINCT FROM OLD.participant_ids
          AND NEW.revision <= OLD.revision
       OR (NEW.result_payload IS DISTINCT FROM OLD.result_payload
           OR NEW.raw_payload IS DISTINCT FROM OLD.raw_payload)
          AND NOT (
              OLD.settlement_status IN ('processed', 'voided')
              AND length(NEW.raw_payload) IS NOT DISTINCT FROM
                  CASE WHEN OLD.raw_payload IS NOT NULL THEN 0 END
              AND combat_may_become(
                  OLD.session_id, OLD.result_payload, NEW.result_payload))
       OR (OLD.payload_sha256 IS NOT NULL
           AND NEW.payload_sha256 IS DISTINCT FROM OLD.payload_sha256) THEN
        RAISE EXCEPTION 'the document of combat % is immutable', OLD.session_id
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'combat_history_document_immutable';
    END IF;
    IF NEW.settlement_status <> OLD.settlement_status
       AND (OLD.settlement_status, NEW.settlement_status) NOT IN (
           ('pending', 'processed'), ('pending', 'failed'), ('pending', 'voided'),
           ('failed', 'pending'), ('failed', 'voided')) THEN
        RAISE EXCEPTION 'combat % cannot go from % to %',
            OLD.session_id, OLD.settlement_status, NEW.settlement_status
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'combat_history_known_transition';
    END IF;
    RETURN NEW;
END $$;
"""

FORMER_HISTORY_GUARD = HISTORY_GUARD.replace(
    HISTORY_GUARD[
        HISTORY_GUARD.index("       OR (NEW.result") : HISTORY_GUARD.index(
            "       OR (OLD.payload"
        )
    ],
    "       OR NEW.result_payload IS DISTINCT FROM OLD.result_payload\n"
    "       OR NEW.raw_payload IS DISTINCT FROM OLD.raw_payload\n",
)

REVISIONS_GUARD = """
CREATE FUNCTION combat_revisions_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
       AND to_jsonb(NEW) - '{document,diff}'::text[]
           = to_jsonb(OLD) - '{document,diff}'::text[]
       AND NEW.diff = '[]'
       AND combat_may_become(OLD.session_id, OLD.document, NEW.document) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'combat_revisions is append-only'
        USING ERRCODE = 'check_violation',
              CONSTRAINT = 'combat_revisions_append_only';
END $$;
DROP TRIGGER combat_revisions_append_only ON combat_revisions;
CREATE TRIGGER combat_revisions_append_only BEFORE UPDATE OR DELETE ON combat_revisions
    FOR EACH ROW EXECUTE FUNCTION combat_revisions_guard();
CREATE TRIGGER combat_redactions_append_only
    BEFORE UPDATE OR DELETE ON combat_redactions
    FOR EACH ROW EXECUTE FUNCTION append_only();
"""
FORMER_REVISIONS_GUARD = """
DROP TRIGGER combat_redactions_append_only ON combat_redactions;
DROP TRIGGER combat_revisions_append_only ON combat_revisions;
DROP FUNCTION combat_revisions_guard();
CREATE TRIGGER combat_revisions_append_only BEFORE UPDATE OR DELETE ON combat_revisions
    FOR EACH ROW EXECUTE FUNCTION append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0013_export_is_a_permission")]

    operations = [
        migrations.CreateModel(
            name="CombatRedaction",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("session_id", models.UUIDField()),
                ("character_id", models.BigIntegerField()),
                ("redacted_at", models.DateTimeField(db_default=TransactionNow())),
                (
                    "payload_sha256",
                    models.CharField(
                        help_text="Of what is left of the document.", max_length=64
                    ),
                ),
            ],
            options={
                "verbose_name": "redacted document",
                "verbose_name_plural": "redacted documents",
                "db_table": "combat_redactions",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["session_id", "character_id"],
                        name="combat_redactions_once",
                    ),
                ],
            },
        ),
        migrations.RunSQL(FORGOTTEN, DROP_FORGOTTEN),
        migrations.RunSQL(HISTORY_GUARD, FORMER_HISTORY_GUARD),
        migrations.RunSQL(REVISIONS_GUARD, FORMER_REVISIONS_GUARD),
    ]
