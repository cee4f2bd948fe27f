from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """The sweep looks up what was undone while Redis may still tell of it."""

    dependencies = [("combat_history", "0007_failures_are_kept")]

    operations = [
        migrations.AddIndex(
            model_name="combathistory",
            index=models.Index(
                fields=["compensated_at"],
                condition=models.Q(compensated_at__isnull=False),
                name="combat_history_undone",
            ),
        ),
    ]
