"""Review: audit, replay requests, corrected documents, triage, control, counts."""

from __future__ import annotations

import django.contrib.postgres.indexes
import django.db.models.functions.datetime
from django.db import migrations, models

# A corrected document is a row of its own; whom it names goes with its revision.
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
"""
ORIGINAL_GUARD = HISTORY_GUARD.replace(" AND NEW.revision <= OLD.revision", "")

# What is or would be settled: of a corrected combat, the document of its revision.
APPLIED_VIEW = """
CREATE VIEW combat_history_applied AS
    SELECT session_id, history.participant_ids, history.finished_at,
           history.settlement_status, revision, history.settled_at,
           history.compensated_at,
           COALESCE(corrected.document, history.result_payload) AS result_payload,
           CASE WHEN corrected.document IS NULL THEN history.raw_payload END
               AS raw_payload
    FROM combat_history history
    LEFT JOIN combat_revisions corrected USING (session_id, revision);
"""

APPEND_ONLY = """
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'check_violation',
              CONSTRAINT = TG_TABLE_NAME || '_append_only';
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER combat_revisions_append_only BEFORE UPDATE OR DELETE ON combat_revisions
    FOR EACH ROW EXECUTE FUNCTION append_only();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("combat_history", "0003_write_behind"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="when",
                    ),
                ),
                ("actor_id", models.BigIntegerField(null=True)),
                ("actor_name", models.CharField(max_length=150, verbose_name="who")),
                ("verb", models.CharField(max_length=40, verbose_name="action")),
                ("target_type", models.CharField(max_length=40)),
                ("target_id", models.CharField(max_length=200, verbose_name="target")),
                (
                    "reason",
                    models.TextField(
                        db_default=models.Value(""), verbose_name="reason"
                    ),
                ),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("done", "done"),
                            ("skipped", "skipped"),
                            ("denied", "denied"),
                            ("failed", "failed"),
                        ],
                        max_length=20,
                        verbose_name="outcome",
                    ),
                ),
                (
                    "detail",
                    models.TextField(
                        db_default=models.Value(""), verbose_name="detail"
                    ),
                ),
                (
                    "request_id",
                    models.CharField(db_default=models.Value(""), max_length=64),
                ),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit",
                "db_table": "audit_log",
            },
        ),
        migrations.CreateModel(
            name="CombatRevision",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("session_id", models.UUIDField()),
                ("revision", models.SmallIntegerField()),
                (
                    "document",
                    models.JSONField(
                        help_text="Without replay_log, as in the history."
                    ),
                ),
                ("payload_sha256", models.CharField(max_length=64)),
                (
                    "diff",
                    models.JSONField(
                        help_text="[{path, before, after}] to the one before."
                    ),
                ),
                ("author_name", models.CharField(max_length=150)),
                ("reason", models.TextField()),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
            ],
            options={
                "verbose_name": "corrected document",
                "verbose_name_plural": "corrected documents",
                "db_table": "combat_revisions",
            },
        ),
        migrations.CreateModel(
            name="MinuteCount",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "minute",
                        "name",
                        "process",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("name", models.CharField(max_length=60)),
                ("process", models.CharField(max_length=100)),
                ("count", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "minute count",
                "verbose_name_plural": "minute counts",
                "db_table": "minute_counts",
            },
        ),
        migrations.CreateModel(
            name="ReplayRequest",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("session_id", models.UUIDField()),
                ("revision", models.SmallIntegerField(db_default=models.Value(1))),
                ("shortages", models.CharField(max_length=10, null=True)),
                ("fingerprint", models.CharField(max_length=64, null=True)),
                ("actor_name", models.CharField(max_length=150)),
                ("reason", models.TextField()),
                ("batch_id", models.UUIDField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("processed", "processed"),
                            ("refused", "refused"),
                            ("failed", "failed"),
                        ],
                        db_default=models.Value("queued"),
                        max_length=20,
                    ),
                ),
                ("detail", models.TextField(db_default=models.Value(""))),
                (
                    "requested_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "replay request",
                "verbose_name_plural": "replay requests",
                "db_table": "replay_requests",
            },
        ),
        migrations.CreateModel(
            name="SettlementControl",
            fields=[
                (
                    "id",
                    models.SmallIntegerField(
                        default=1, primary_key=True, serialize=False
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("running", "running"),
                            ("draining", "draining"),
                            ("paused", "paused"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "since",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                ("actor_name", models.CharField(max_length=150)),
                ("reason", models.TextField(db_default=models.Value(""))),
            ],
            options={
                "verbose_name": "settlement control",
                "verbose_name_plural": "settlement control",
                "db_table": "settlement_control",
                "permissions": [
                    ("control_settlement", "Can pause and resume settlement")
                ],
            },
        ),
        migrations.CreateModel(
            name="Triage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("combat", "failed combat"),
                            ("discrepancy", "discrepancy"),
                            ("rejected", "rejected payload"),
                            ("parked", "parked operation"),
                        ],
                        max_length=20,
                    ),
                ),
                ("target_id", models.CharField(max_length=64)),
                (
                    "acknowledged_by",
                    models.CharField(db_default=models.Value(""), max_length=150),
                ),
                ("acknowledged_at", models.DateTimeField(null=True)),
                (
                    "assigned_to",
                    models.CharField(db_default=models.Value(""), max_length=150),
                ),
                ("note", models.TextField(db_default=models.Value(""))),
                ("snoozed_until", models.DateTimeField(null=True)),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
            ],
            options={
                "verbose_name": "triage",
                "verbose_name_plural": "triage",
                "db_table": "triage",
            },
        ),
        migrations.AlterModelOptions(
            name="combathistory",
            options={
                "permissions": [
                    ("replay_combat", "Can replay failed combats"),
                    ("correct_combat", "Can correct the document of a failed combat"),
                    ("void_combat", "Can void combats that are not settled"),
                    ("compensate_combat", "Can undo settled combats"),
                ],
                "verbose_name": "combat",
                "verbose_name_plural": "combats",
            },
        ),
        migrations.RemoveConstraint(
            model_name="ledgerline",
            name="settlement_ledger_known_kind",
        ),
        migrations.RemoveConstraint(
            model_name="ledgerline",
            name="settlement_ledger_session_iff_settlement",
        ),
        migrations.AddField(
            model_name="combathistory",
            name="compensated_at",
            field=models.DateTimeField(
                help_text="Its effects were undone by counter-lines.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="ledgerline",
            name="kind",
            field=models.CharField(
                choices=[
                    ("opening", "opening balance"),
                    ("settlement", "settlement"),
                    ("operation", "inventory operations"),
                    ("compensation", "compensation"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="combathistory",
            index=models.Index(
                models.OrderBy(models.F("finished_at"), descending=True),
                condition=models.Q(("settlement_status", "voided")),
                name="combat_history_voided",
            ),
        ),
        migrations.AddIndex(
            model_name="combathistory",
            index=models.Index(
                models.OrderBy(models.F("finished_at"), descending=True),
                condition=models.Q(("compensated_at__isnull", False)),
                name="combat_history_compensated",
            ),
        ),
        migrations.AddIndex(
            model_name="combathistory",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True,
                fields=["settled_at"],
                name="combat_history_settled_at",
            ),
        ),
        migrations.AddConstraint(
            model_name="combathistory",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("compensated_at__isnull", True),
                    ("settlement_status", "processed"),
                    _connector="OR",
                ),
                name="combat_history_compensated_was_processed",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind__in", ["opening", "settlement", "operation", "compensation"])
                ),
                name="settlement_ledger_known_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("kind__in", ["settlement", "compensation"]),
                        ("session_id__isnull", False),
                    ),
                    models.Q(
                        ("kind__in", ["opening", "operation"]),
                        ("session_id__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="settlement_ledger_session_iff_of_combat",
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                models.F("target_type"),
                models.F("target_id"),
                models.F("id"),
                name="audit_log_target",
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                models.F("actor_name"), models.F("id"), name="audit_log_actor"
            ),
        ),
        migrations.AddConstraint(
            model_name="auditentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("outcome__in", ["done", "skipped", "denied", "failed"])
                ),
                name="audit_log_known_outcome",
            ),
        ),
        migrations.AddConstraint(
            model_name="combatrevision",
            constraint=models.UniqueConstraint(
                fields=("session_id", "revision"), name="combat_revisions_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="combatrevision",
            constraint=models.CheckConstraint(
                condition=models.Q(("revision__gte", 2)),
                name="combat_revisions_after_original",
            ),
        ),
        migrations.AddIndex(
            model_name="replayrequest",
            index=models.Index(
                models.F("session_id"), models.F("id"), name="replay_requests_session"
            ),
        ),
        migrations.AddIndex(
            model_name="replayrequest",
            index=models.Index(
                models.F("batch_id"), models.F("id"), name="replay_requests_batch"
            ),
        ),
        migrations.AddConstraint(
            model_name="replayrequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "queued")),
                fields=("session_id",),
                name="replay_requests_one_queued",
            ),
        ),
        migrations.AddConstraint(
            model_name="replayrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("shortages__isnull", True),
                    ("shortages__in", ["record", "fail"]),
                    _connector="OR",
                ),
                name="replay_requests_known_policy",
            ),
        ),
        migrations.AddConstraint(
            model_name="settlementcontrol",
            constraint=models.CheckConstraint(
                condition=models.Q(("id", 1)), name="settlement_control_one_row"
            ),
        ),
        migrations.AddConstraint(
            model_name="settlementcontrol",
            constraint=models.CheckConstraint(
                condition=models.Q(("mode__in", ["running", "draining", "paused"])),
                name="settlement_control_known_mode",
            ),
        ),
        migrations.AddConstraint(
            model_name="triage",
            constraint=models.UniqueConstraint(
                fields=("kind", "target_id"), name="triage_once"
            ),
        ),
        migrations.RunSQL(HISTORY_GUARD, ORIGINAL_GUARD),
        migrations.RunSQL(APPLIED_VIEW, "DROP VIEW combat_history_applied;"),
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER audit_log_append_only ON audit_log;"
            "DROP TRIGGER combat_revisions_append_only ON combat_revisions;"
            "DROP FUNCTION append_only();",
        ),
    ]
