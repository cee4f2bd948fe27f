"""The team's word on a player: a note, and to whom they were handed over."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0026_one_decision_one_entry")]

    operations = [
        migrations.AlterField(
            model_name="triage",
            name="kind",
            field=models.CharField(
                choices=[
                    ("combat", "failed combat"),
                    ("discrepancy", "discrepancy"),
                    ("rejected", "rejected payload"),
                    ("parked", "parked operation"),
                    ("player", "player"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterModelOptions(
            name="triage",
            options={
                "permissions": [
                    ("note_player", "Can write notes of players, and hand over")
                ],
                "verbose_name": "triage",
                "verbose_name_plural": "triage",
            },
        ),
        migrations.AddIndex(
            model_name="triage",
            index=models.Index(
                condition=Q(("kind", "player"), ~Q(assigned_to="")),
                fields=["updated_at"],
                name="triage_players",
            ),
        ),
    ]
