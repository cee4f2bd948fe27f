from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            name="QuestStep",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("session_id", models.UUIDField()),
                ("character_id", models.BigIntegerField()),
            ],
            options={
                "db_table": "game_quest_steps",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("session_id", "character_id"),
                        name="game_quest_step_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FishingTrip",
            fields=[
                ("session_id", models.UUIDField(primary_key=True, serialize=False)),
                ("character_id", models.BigIntegerField()),
                ("fish", models.IntegerField()),
            ],
            options={"db_table": "game_fishing_trips"},
        ),
    ]
