"""Named balances: their catalogue, what characters have of them, and the lines."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

# What a row came with from outside: the ledger adds up from there on.
OPENING_AMOUNT = """
CREATE FUNCTION balances_opening_amount() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.opening_amount := NEW.amount;
    RETURN NEW;
END $$;
CREATE TRIGGER balances_opening_amount BEFORE INSERT ON balances
    FOR EACH ROW WHEN (NEW.opening_amount IS NULL)
    EXECUTE FUNCTION balances_opening_amount();
"""
DROP_OPENING_AMOUNT = """
DROP TRIGGER balances_opening_amount ON balances;
DROP FUNCTION balances_opening_amount();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("combat_history", "0018_operations"),
    ]

    operations = [
        migrations.AddField(
            model_name="ledgerline",
            name="balances",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="settlementdiscrepancy",
            name="balance_id",
            field=models.CharField(max_length=64, null=True),
        ),
        migrations.CreateModel(
            name="BalanceTemplate",
            fields=[
                (
                    "id",
                    models.CharField(max_length=64, primary_key=True, serialize=False),
                ),
                (
                    "name",
                    models.CharField(max_length=200, verbose_name="name (Russian)"),
                ),
                (
                    "name_en",
                    models.CharField(
                        blank=True,
                        db_default=models.Value(""),
                        max_length=200,
                        verbose_name="name (English)",
                    ),
                ),
                (
                    "floor",
                    models.BigIntegerField(
                        db_default=models.Value(0),
                        help_text="What is taken beyond it is a shortage; at most 0.",
                        verbose_name="floor",
                    ),
                ),
                (
                    "maximum",
                    models.BigIntegerField(
                        db_default=models.Value(9223372036854775807),
                        help_text="What would lead beyond it fails the combat.",
                        verbose_name="maximum",
                    ),
                ),
            ],
            options={
                "verbose_name": "named balance",
                "verbose_name_plural": "named balances",
                "db_table": "balance_templates",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("id__regex", "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")
                        ),
                        name="balance_templates_id_is_sayable",
                        violation_error_message="Letters, digits and _.:- alone.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("floor__lte", 0), ("maximum__gte", 0)),
                        name="balance_templates_bounds_hold_zero",
                        violation_error_message="Zero lies between floor and maximum.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="NamedBalance",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "character_id",
                        "balance_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "character",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="balances",
                        to="combat_history.character",
                    ),
                ),
                (
                    "balance",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="combat_history.balancetemplate",
                    ),
                ),
                ("amount", models.BigIntegerField()),
                ("opening_amount", models.BigIntegerField(editable=False)),
            ],
            options={
                "verbose_name": "amount of a named balance",
                "verbose_name_plural": "amounts of named balances",
                "db_table": "balances",
            },
        ),
        migrations.RunSQL(OPENING_AMOUNT, DROP_OPENING_AMOUNT),
    ]
