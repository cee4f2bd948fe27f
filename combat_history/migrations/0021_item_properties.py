"""Properties of an inventory row: what tells its pieces from others of their kind."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0020_more_review_rules")]

    operations = [
        migrations.AddField(
            model_name="inventoryitem",
            name="properties",
            field=models.JSONField(
                blank=True,
                editable=False,
                help_text="What tells these pieces from others of their kind.",
                null=True,
            ),
        ),
    ]
