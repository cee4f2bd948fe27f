"""Savers of inventory and scenarios: parked operations, reservations, snapshots."""

from __future__ import annotations

import django.db.models.functions.datetime
from django.db import migrations, models

# What an operation made has come from no outside either.
OPENING_TRIGGER = """
DROP TRIGGER inventory_opening_quantity ON inventory;
CREATE TRIGGER inventory_opening_quantity BEFORE INSERT ON inventory
    FOR EACH ROW WHEN ({condition})
    EXECUTE FUNCTION inventory_opening_quantity();
"""
NO_SETTLEMENT = "NEW.origin_session_id IS NULL"
NO_ORIGIN = f"{NO_SETTLEMENT} AND NEW.origin_operation IS NULL"


class Migration(migrations.Migration):
    dependencies = [
        ("combat_history", "0002_rules_in_the_database"),
    ]

    operations = [
        migrations.CreateModel(
            name="ParkedOperation",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("scope", models.CharField(max_length=40)),
                ("character_id", models.BigIntegerField()),
                ("op_id", models.CharField(max_length=100)),
                ("operation", models.JSONField()),
                ("code", models.CharField(max_length=40)),
                ("detail", models.TextField(db_default=models.Value(""))),
                ("blocked_by", models.CharField(max_length=100, null=True)),
                ("times_seen", models.IntegerField(db_default=models.Value(1))),
                (
                    "parked_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                (
                    "last_seen_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                ("retry_requested_at", models.DateTimeField(null=True)),
                ("resolved_at", models.DateTimeField(null=True)),
                (
                    "resolution",
                    models.CharField(
                        choices=[("applied", "applied"), ("discarded", "discarded")],
                        max_length=20,
                        null=True,
                    ),
                ),
            ],
            options={
                "verbose_name": "parked operation",
                "verbose_name_plural": "parked operations",
                "db_table": "parked_operations",
                "permissions": [
                    ("replay_parkedoperation", "Can replay parked operations"),
                    ("discard_parkedoperation", "Can discard parked operations"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ScenarioSession",
            fields=[
                ("session_id", models.UUIDField(primary_key=True, serialize=False)),
                ("character_id", models.BigIntegerField(db_index=True)),
                ("version", models.BigIntegerField()),
                ("progress", models.JSONField()),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "saved_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
            ],
            options={
                "verbose_name": "scenario session",
                "verbose_name_plural": "scenario sessions",
                "db_table": "scenario_sessions",
            },
        ),
        migrations.RemoveConstraint(
            model_name="ledgerline",
            name="settlement_ledger_known_kind",
        ),
        migrations.RemoveConstraint(
            model_name="ledgerline",
            name="settlement_ledger_session_unless_opening",
        ),
        migrations.AddField(
            model_name="appliedoperation",
            name="inventory_id",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="appliedoperation",
            name="sha256",
            field=models.CharField(db_default=models.Value(""), max_length=64),
        ),
        migrations.AddField(
            model_name="inventoryitem",
            name="origin_operation",
            field=models.CharField(
                blank=True, editable=False, max_length=200, null=True
            ),
        ),
        migrations.AddField(
            model_name="inventoryitem",
            name="reserved_session_id",
            field=models.UUIDField(blank=True, editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="ledgerline",
            name="kind",
            field=models.CharField(
                choices=[
                    ("opening", "opening balance"),
                    ("settlement", "settlement"),
                    ("operation", "inventory operations"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="inventoryitem",
            index=models.Index(
                condition=models.Q(("reserved_session_id__isnull", False)),
                fields=["reserved_session_id"],
                name="inventory_reserved",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind__in", ["opening", "settlement", "operation"])
                ),
                name="settlement_ledger_known_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "settlement"), ("session_id__isnull", False)),
                    models.Q(
                        models.Q(("kind", "settlement"), _negated=True),
                        ("session_id__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="settlement_ledger_session_iff_settlement",
            ),
        ),
        migrations.AddIndex(
            model_name="parkedoperation",
            index=models.Index(
                condition=models.Q(("resolved_at__isnull", True)),
                fields=["character_id", "id"],
                name="parked_operations_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="parkedoperation",
            constraint=models.UniqueConstraint(
                fields=("scope", "character_id", "op_id"), name="parked_operations_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="parkedoperation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("resolution__isnull", True), ("resolved_at__isnull", True)
                    ),
                    models.Q(
                        ("resolution__isnull", False), ("resolved_at__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="parked_operations_resolved_has_resolution",
            ),
        ),
        migrations.AddConstraint(
            model_name="scenariosession",
            constraint=models.CheckConstraint(
                condition=models.Q(("version__gte", 0)),
                name="scenario_sessions_version_not_negative",
            ),
        ),
        migrations.RunSQL(
            OPENING_TRIGGER.format(condition=NO_ORIGIN),
            OPENING_TRIGGER.format(condition=NO_SETTLEMENT),
        ),
    ]
