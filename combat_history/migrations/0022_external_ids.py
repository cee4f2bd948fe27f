"""What other systems call the player of a character."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("combat_history", "0021_item_properties"),
    ]

    operations = [
        migrations.CreateModel(
            name="ExternalId",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "kind",
                        "value",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("kind", models.CharField(max_length=32)),
                ("value", models.CharField(max_length=128)),
                (
                    "character",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="external_ids",
                        to="combat_history.character",
                    ),
                ),
            ],
            options={
                "verbose_name": "external id",
                "verbose_name_plural": "external ids",
                "db_table": "character_external_ids",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("character", "kind"),
                        name="character_external_ids_one_a_kind",
                    )
                ],
            },
        ),
    ]
