"""Rules that constraints cannot say: immutability, transitions, opening balances."""

from __future__ import annotations

from django.db import migrations

# Triggers, and not rules in Python: they hold for every program, and for a person at a
# SQL prompt (docs/decisions/0007).
HISTORY_GUARD = """
CREATE FUNCTION combat_history_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'combat % is history and is never deleted', OLD.session_id
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'combat_history_never_deleted';
    END IF;
    IF (NEW.session_id, NEW.participant_ids, NEW.finished_at, NEW.received_at)
           IS DISTINCT FROM
       (OLD.session_id, OLD.participant_ids, OLD.finished_at, OLD.received_at)
       OR NEW.result_payload IS DISTINCT FROM OLD.result_payload
       OR NEW.raw_payload IS DISTINCT FROM OLD.raw_payload
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
CREATE TRIGGER combat_history_guard BEFORE UPDATE OR DELETE ON combat_history
    FOR EACH ROW EXECUTE FUNCTION combat_history_guard();
"""

LEDGER_GUARD = """
CREATE FUNCTION settlement_ledger_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: correct with a new line'
        USING ERRCODE = 'check_violation',
              CONSTRAINT = 'settlement_ledger_append_only';
END $$;
CREATE TRIGGER settlement_ledger_guard BEFORE UPDATE OR DELETE ON settlement_ledger
    FOR EACH ROW EXECUTE FUNCTION settlement_ledger_guard();
"""

# What a character or a row came with from outside: the ledger adds up from there on.
OPENING_BALANCES = """
CREATE FUNCTION characters_open_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO settlement_ledger
        (character_id, kind, xp_delta, gold_delta, xp_after, gold_after)
    SELECT id, 'opening', xp, gold, xp, gold FROM opened ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER characters_open_ledger AFTER INSERT ON characters
    REFERENCING NEW TABLE AS opened
    FOR EACH STATEMENT EXECUTE FUNCTION characters_open_ledger();

CREATE FUNCTION inventory_opening_quantity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.opening_quantity := NEW.quantity;
    RETURN NEW;
END $$;
CREATE TRIGGER inventory_opening_quantity BEFORE INSERT ON inventory
    FOR EACH ROW WHEN (NEW.origin_session_id IS NULL)
    EXECUTE FUNCTION inventory_opening_quantity();
"""

# The replay log is compressed already: compressing it again would only cost.
REPLAY_STORAGE = "ALTER TABLE combat_replay ALTER COLUMN data SET STORAGE EXTERNAL;"

# Rows the game imports with ids of its own must never meet the sequence.
ITEM_IDS = """
ALTER TABLE inventory ALTER COLUMN id SET START WITH 1000000000 RESTART;
"""

FULL_VIEW = """
CREATE VIEW combat_history_full AS
    SELECT history.*, replay.data AS replay_log_zstd
    FROM combat_history history LEFT JOIN combat_replay replay USING (session_id);
"""


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0001_initial")]

    operations = [
        migrations.RunSQL(
            HISTORY_GUARD,
            "DROP TRIGGER combat_history_guard ON combat_history;"
            "DROP FUNCTION combat_history_guard();",
        ),
        migrations.RunSQL(
            LEDGER_GUARD,
            "DROP TRIGGER settlement_ledger_guard ON settlement_ledger;"
            "DROP FUNCTION settlement_ledger_guard();",
        ),
        migrations.RunSQL(
            OPENING_BALANCES,
            "DROP TRIGGER characters_open_ledger ON characters;"
            "DROP FUNCTION characters_open_ledger();"
            "DROP TRIGGER inventory_opening_quantity ON inventory;"
            "DROP FUNCTION inventory_opening_quantity();",
        ),
        migrations.RunSQL(
            REPLAY_STORAGE,
            "ALTER TABLE combat_replay ALTER COLUMN data SET STORAGE EXTENDED;",
        ),
        migrations.RunSQL(ITEM_IDS, migrations.RunSQL.noop),
        migrations.RunSQL(FULL_VIEW, "DROP VIEW combat_history_full;"),
    ]
