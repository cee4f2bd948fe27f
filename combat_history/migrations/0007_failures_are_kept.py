"""Every failure of a combat is kept: when it was, why, and of which revision."""

from __future__ import annotations

from django.db import migrations, models

# Rows that succeed pay for a look at their status; what failed is copied as it is, by
# whatever version of the worker, or hand, it was written.
TRIGGERS = """
CREATE FUNCTION combat_history_stamp_failure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.failed_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE FUNCTION combat_history_keep_failure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO settlement_failures
        (session_id, revision, failed_at, code, detail, traceback)
    VALUES (NEW.session_id, NEW.revision, NEW.failed_at, NEW.failure_code,
            coalesce(NEW.failure_detail, ''), coalesce(NEW.failure_traceback, ''));
    RETURN NULL;
END $$;

CREATE TRIGGER combat_history_stamp_first BEFORE INSERT ON combat_history
    FOR EACH ROW WHEN (NEW.settlement_status = 'failed')
    EXECUTE FUNCTION combat_history_stamp_failure();
CREATE TRIGGER combat_history_stamp_next BEFORE UPDATE ON combat_history
    FOR EACH ROW
    WHEN (NEW.settlement_status = 'failed' AND OLD.settlement_status <> 'failed')
    EXECUTE FUNCTION combat_history_stamp_failure();
-- After: an insert that meets a known session fails nothing.
CREATE TRIGGER combat_history_keep_first AFTER INSERT ON combat_history
    FOR EACH ROW WHEN (NEW.settlement_status = 'failed')
    EXECUTE FUNCTION combat_history_keep_failure();
CREATE TRIGGER combat_history_keep_next AFTER UPDATE ON combat_history
    FOR EACH ROW
    WHEN (NEW.settlement_status = 'failed' AND OLD.settlement_status <> 'failed')
    EXECUTE FUNCTION combat_history_keep_failure();

CREATE TRIGGER settlement_failures_append_only
    BEFORE UPDATE OR DELETE ON settlement_failures
    FOR EACH ROW EXECUTE FUNCTION append_only();
"""

DROP_TRIGGERS = """
DROP TRIGGER combat_history_stamp_first ON combat_history;
DROP TRIGGER combat_history_stamp_next ON combat_history;
DROP TRIGGER combat_history_keep_first ON combat_history;
DROP TRIGGER combat_history_keep_next ON combat_history;
DROP FUNCTION combat_history_stamp_failure();
DROP FUNCTION combat_history_keep_failure();
DROP TRIGGER settlement_failures_append_only ON settlement_failures;
"""

# What is still known of earlier failures. A failure was in the try or the replay that
# ended last, or where neither was recorded, in the pass that received the combat.
KNOWN = """
INSERT INTO settlement_failures
    (session_id, revision, failed_at, code, detail, traceback)
SELECT h.session_id, h.revision,
       greatest(
           h.received_at,
           (SELECT max(ended_at) FROM settlement_attempts a
            WHERE a.session_id = h.session_id AND a.outcome = 'failed'),
           (SELECT max(finished_at) FROM replay_requests q
            WHERE q.session_id = h.session_id AND q.state = 'failed')),
       h.failure_code, coalesce(h.failure_detail, ''), coalesce(h.failure_traceback, '')
FROM combat_history h
WHERE h.settlement_status IN ('failed', 'pending', 'voided')
  AND h.failure_code IS NOT NULL;

UPDATE combat_history h SET failed_at = f.failed_at
FROM settlement_failures f WHERE f.session_id = h.session_id;

UPDATE combat_history h SET failed_at = q.requested_at
FROM (SELECT session_id, max(requested_at) AS requested_at
      FROM replay_requests GROUP BY session_id) q
WHERE q.session_id = h.session_id AND h.failed_at IS NULL;
"""


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0006_replay_log_immutable")]

    operations = [
        migrations.AddField(
            model_name="combathistory",
            name="failed_at",
            field=models.DateTimeField(
                help_text="When it failed last, whatever came after; a trigger.",
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="SettlementFailure",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("session_id", models.UUIDField()),
                ("revision", models.SmallIntegerField()),
                ("failed_at", models.DateTimeField()),
                ("code", models.CharField(max_length=40)),
                ("detail", models.TextField()),
                ("traceback", models.TextField()),
            ],
            options={
                "verbose_name": "failure of a combat",
                "verbose_name_plural": "failures of combats",
                "db_table": "settlement_failures",
                "indexes": [
                    models.Index(
                        models.F("session_id"),
                        models.F("id"),
                        name="settlement_failures_session",
                    )
                ],
            },
        ),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        migrations.RunSQL(TRIGGERS, DROP_TRIGGERS),
    ]
