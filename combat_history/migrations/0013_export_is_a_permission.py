"""To take a whole table away is more than to look at it: a permission of its own."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0012_one_word_per_thing")]

    operations = [
        migrations.AlterModelOptions(
            name="auditentry",
            options={
                "permissions": [("export_auditentry", "Can export the audit")],
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit",
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
                    ("export_combathistory", "Can export combats"),
                ],
                "verbose_name": "combat",
                "verbose_name_plural": "combats",
            },
        ),
    ]
