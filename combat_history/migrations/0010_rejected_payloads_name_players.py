"""Rejected payloads name the players they concern: a player's page finds them."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import migrations, models

from persistence.worker.rejected_players import players_of


def fill(apps: Any, schema_editor: Any) -> None:
    rejected = apps.get_model("combat_history", "RejectedPayload").objects
    for row in rejected.only("raw").iterator(chunk_size=50):
        raw = row.raw if row.raw is None else bytes(row.raw)
        if players := players_of(raw):
            rejected.filter(pk=row.pk).update(participant_ids=players)


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0009_characters_stay")]

    operations = [
        migrations.AddField(
            model_name="rejectedpayload",
            name="participant_ids",
            field=ArrayField(
                models.BigIntegerField(),
                db_default=models.Value(
                    [], output_field=ArrayField(models.BigIntegerField())
                ),
                help_text="Players whom the bytes name, as far as they can be read.",
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
        migrations.AddIndex(
            model_name="rejectedpayload",
            index=GinIndex(
                fields=["participant_ids"], name="rejected_payloads_players"
            ),
        ),
    ]
