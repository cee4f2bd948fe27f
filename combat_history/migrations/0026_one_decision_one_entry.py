"""A decision about several is one audit entry; a batch tries first, and may stop."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.db import migrations, models
from django.db.models import Q, Value


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0025_events")]

    operations = [
        migrations.AlterField(
            model_name="auditentry",
            name="target_id",
            field=models.CharField(
                "target", help_text="Empty where there are members.", max_length=200
            ),
        ),
        migrations.AddField(
            model_name="auditentry",
            name="members",
            field=django.contrib.postgres.fields.ArrayField(
                models.TextField(),
                help_text="The targets of one decision about several.",
                null=True,
                size=None,
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=django.contrib.postgres.indexes.GinIndex(
                condition=Q(members__isnull=False),
                fields=["members"],
                name="audit_log_members",
            ),
        ),
        migrations.AddField(
            model_name="replaybatch",
            name="canary",
            field=models.SmallIntegerField(
                db_default=Value(0),
                help_text="So many are answered before another one is replayed.",
            ),
        ),
        migrations.AddField(
            model_name="replaybatch",
            name="stop_after",
            field=models.SmallIntegerField(
                db_default=Value(0),
                help_text=("Failures in a row of one cause and subject that stop it."),
            ),
        ),
        migrations.AddConstraint(
            model_name="replaybatch",
            constraint=models.CheckConstraint(
                condition=Q(canary__gte=0, stop_after__gte=0),
                name="replay_batches_caution",
            ),
        ),
    ]
