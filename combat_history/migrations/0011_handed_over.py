"""A rejected payload says that a person handed it over, and as which session."""

from __future__ import annotations

from django.db import migrations, models

# What the audit knows of hand-overs before this.
KNOWN = """
UPDATE rejected_payloads r
SET handed_over_at = a.at, handed_over_by = a.actor_name,
    handed_over_as = (a.after ->> 'session_id')::uuid
FROM (
    SELECT DISTINCT ON (target_id) target_id, at, actor_name, after
    FROM audit_log
    WHERE target_type = 'rejected' AND verb = 'resubmit' AND outcome = 'done'
    ORDER BY target_id, id DESC
) a
WHERE r.id::text = a.target_id
"""


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0010_rejected_payloads_name_players")]

    operations = [
        migrations.AddField(
            model_name="rejectedpayload",
            name="handed_over_as",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="rejectedpayload",
            name="handed_over_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="rejectedpayload",
            name="handed_over_by",
            field=models.CharField(db_default=models.Value(""), max_length=150),
        ),
        migrations.AddField(
            model_name="rejectedpayload",
            name="handed_over_sha256",
            field=models.CharField(db_default=models.Value(""), max_length=64),
        ),
        migrations.AddIndex(
            model_name="rejectedpayload",
            index=models.Index(
                condition=models.Q(("handed_over_at__isnull", False)),
                fields=["handed_over_sha256"],
                name="rejected_payloads_handed_over",
            ),
        ),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
    ]
