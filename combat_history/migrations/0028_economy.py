"""What the world was given and lost by day, rolled up from the ledger."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0027_notes_of_players")]

    operations = [
        migrations.CreateModel(
            name="EconomyDay",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "kind",
                        "subject",
                        "day",
                        "source",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("gold", "gold"),
                            ("xp", "XP"),
                            ("balance", "named balance"),
                            ("item", "item"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "subject",
                    models.CharField(
                        help_text="The id of a balance or an item; else empty.",
                        max_length=200,
                    ),
                ),
                ("day", models.DateField()),
                ("source", models.CharField(max_length=20)),
                ("minted", models.DecimalField(decimal_places=0, max_digits=40)),
                ("sunk", models.DecimalField(decimal_places=0, max_digits=40)),
            ],
            options={
                "verbose_name": "day of the economy",
                "verbose_name_plural": "economy",
                "db_table": "economy_days",
                "indexes": [models.Index(fields=["day"], name="economy_days_day")],
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(("minted__gte", 0), ("sunk__gte", 0)),
                        name="economy_days_amounts",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EconomyEarner",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "day",
                        "character_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("day", models.DateField()),
                ("character_id", models.BigIntegerField()),
                ("gold", models.DecimalField(decimal_places=0, max_digits=40)),
                ("xp", models.DecimalField(decimal_places=0, max_digits=40)),
            ],
            options={
                "verbose_name": "earner of a day",
                "verbose_name_plural": "earners by day",
                "db_table": "economy_earners",
                "indexes": [
                    models.Index(
                        F("day"), F("gold").desc(), name="economy_earners_gold"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EconomyProgress",
            fields=[
                (
                    "id",
                    models.SmallIntegerField(
                        default=1, primary_key=True, serialize=False
                    ),
                ),
                ("ledger_id", models.BigIntegerField(default=0)),
                ("at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "progress of the economy",
                "verbose_name_plural": "progress of the economy",
                "db_table": "economy_progress",
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(("id", 1)), name="economy_progress_one_row"
                    )
                ],
            },
        ),
    ]
