"""What the game does outside of fights: applied once, and never changed afterwards."""

from __future__ import annotations

import django.db.models.functions.datetime
from django.db import migrations, models

GUARD = """
CREATE FUNCTION operations_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
       AND to_jsonb(NEW) - '{undone_at,reason}'::text[]
           = to_jsonb(OLD) - '{undone_at,reason}'::text[]
       AND NEW.reason IN (OLD.reason, '')
       AND (OLD.undone_at IS NULL OR NEW.undone_at IS NOT DISTINCT FROM OLD.undone_at)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'operation % was applied and never changes', OLD.op_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'operations_append_only';
END $$;
CREATE TRIGGER operations_guard BEFORE UPDATE OR DELETE ON operations
    FOR EACH ROW EXECUTE FUNCTION operations_guard();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("combat_history", "0017_callers"),
    ]

    operations = [
        migrations.CreateModel(
            name="Operation",
            fields=[
                (
                    "op_id",
                    models.CharField(max_length=100, primary_key=True, serialize=False),
                ),
                ("id", models.UUIDField(unique=True)),
                ("reason", models.CharField(max_length=500)),
                (
                    "caller",
                    models.CharField(db_default=models.Value(""), max_length=150),
                ),
                ("sha256", models.CharField(max_length=64)),
                ("document", models.JSONField()),
                ("answer", models.JSONField()),
                (
                    "applied_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                ("undone_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "operation of the game",
                "verbose_name_plural": "operations of the game",
                "db_table": "operations",
                "indexes": [
                    models.Index(
                        models.OrderBy(models.F("applied_at"), descending=True),
                        models.OrderBy(models.F("op_id"), descending=True),
                        name="operations_newest",
                    )
                ],
            },
        ),
        migrations.RunSQL(GUARD, "DROP FUNCTION operations_guard() CASCADE"),
        migrations.RemoveConstraint(
            model_name="ledgerline",
            name="settlement_ledger_session_iff_of_combat",
        ),
        migrations.AlterField(
            model_name="ledgerline",
            name="kind",
            field=models.CharField(
                choices=[
                    ("opening", "opening balance"),
                    ("settlement", "settlement"),
                    ("operation", "operations"),
                    ("compensation", "undo"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind", "operation"),
                    models.Q(
                        ("kind__in", ["settlement", "compensation"]),
                        ("session_id__isnull", False),
                    ),
                    models.Q(("kind", "opening"), ("session_id__isnull", True)),
                    _connector="OR",
                ),
                name="settlement_ledger_session_by_kind",
            ),
        ),
    ]
