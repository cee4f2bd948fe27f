"""The name of an API token stands on what it caused."""

from __future__ import annotations

from django.db import migrations, models

HANDED_OVER = "The API token that handed it over, if one did."
RESERVED = "The API token that reserved it last, if one did."


def name(told: str, **more: bool) -> models.CharField[str, str]:
    return models.CharField(
        max_length=60, db_default=models.Value(""), help_text=told, **more
    )


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0016_api_tokens")]

    operations = [
        migrations.AddField("combathistory", "caller", name(HANDED_OVER)),
        migrations.AddField("rejectedpayload", "caller", name(HANDED_OVER)),
        migrations.AddField(
            "inventoryitem",
            "reserved_caller",
            name(RESERVED, blank=True, editable=False),
        ),
    ]
