"""What exactly a combat failed for, by which failures of one cause are grouped."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Value

# What failed before has it in the sentence that its worker wrote.
KNOWN = r"""
UPDATE combat_history
SET failure_subject = left(coalesce(CASE failure_code
    WHEN 'unknown_item' THEN
        substring(failure_detail from '^loot ''(.*)'' of character \d+ is not')
    WHEN 'unknown_balance' THEN
        substring(failure_detail from '^balance ''(.*)'' of character \d+ is not')
    WHEN 'unknown_character' THEN
        substring(failure_detail from '^no such character: (\d+)')
    WHEN 'held_for_review' THEN substring(failure_detail from '^(rule \d+):')
    END, ''), 200)
WHERE settlement_status = 'failed'
  AND failure_code IN
      ('unknown_item', 'unknown_balance', 'unknown_character', 'held_for_review');
"""


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0022_external_ids")]

    operations = [
        migrations.AddField(
            model_name="combathistory",
            name="failure_subject",
            field=models.CharField(
                db_default=Value(""),
                help_text="What exactly it failed for: an item, a character, a place.",
                max_length=200,
            ),
        ),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="combathistory",
            index=models.Index(
                condition=models.Q(("settlement_status", "failed")),
                fields=["failure_code", "failure_subject", "received_at"],
                name="combat_history_failed_for",
            ),
        ),
    ]
