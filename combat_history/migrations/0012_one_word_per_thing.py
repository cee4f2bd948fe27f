"""What people read says settled, undo, fight log and retry; what is stored stays."""

from __future__ import annotations

from django.db import migrations, models

# Django writes the name of a permission once, when it creates it.
RENAMED = """
UPDATE auth_permission SET name = 'Can retry parked operations'
WHERE codename = 'replay_parkedoperation'
"""


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("combat_history", "0011_handed_over"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="combatreplay",
            options={"verbose_name": "fight log", "verbose_name_plural": "fight logs"},
        ),
        migrations.AlterModelOptions(
            name="parkedoperation",
            options={
                "permissions": [
                    ("replay_parkedoperation", "Can retry parked operations"),
                    ("discard_parkedoperation", "Can discard parked operations"),
                ],
                "verbose_name": "parked operation",
                "verbose_name_plural": "parked operations",
            },
        ),
        migrations.AlterField(
            model_name="combathistory",
            name="settlement_status",
            field=models.CharField(
                choices=[
                    ("pending", "pending"),
                    ("processed", "settled"),
                    ("failed", "failed"),
                    ("voided", "voided"),
                ],
                db_default=models.Value("pending"),
                max_length=20,
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
                    ("compensation", "undo"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="replayrequest",
            name="state",
            field=models.CharField(
                choices=[
                    ("queued", "queued"),
                    ("processed", "settled"),
                    ("refused", "refused"),
                    ("failed", "failed"),
                ],
                db_default=models.Value("queued"),
                max_length=20,
            ),
        ),
        migrations.RunSQL(RENAMED, migrations.RunSQL.noop),
    ]
