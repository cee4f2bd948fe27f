"""Rules of the roster, of items by day, and in multiples of what is usual."""

from __future__ import annotations

from django.db import migrations, models

KNOWN_AMOUNT, KNOWN_SPAN = "review_rules_known_amount", "review_rules_known_span"


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0019_named_balances")]

    operations = [
        migrations.RemoveConstraint("reviewrule", KNOWN_AMOUNT),
        migrations.RemoveConstraint("reviewrule", KNOWN_SPAN),
        migrations.AlterField(
            "reviewrule",
            "amount",
            models.CharField(
                choices=[
                    ("xp", "XP"),
                    ("gold", "gold"),
                    ("items", "pieces of an item"),
                    ("roster", "players whom the fight was not begun with"),
                ],
                max_length=10,
                verbose_name="what",
            ),
        ),
        migrations.AddConstraint(
            "reviewrule",
            models.CheckConstraint(
                condition=models.Q(amount__in=["xp", "gold", "items", "roster"]),
                name=KNOWN_AMOUNT,
            ),
        ),
        migrations.AddConstraint(
            "reviewrule",
            models.CheckConstraint(
                condition=models.Q(span="fight")
                | (models.Q(span="day") & ~models.Q(amount="roster")),
                name=KNOWN_SPAN,
                violation_error_message="A roster is of one fight.",
            ),
        ),
        migrations.AddField(
            "reviewrule",
            "times_usual",
            models.PositiveSmallIntegerField(
                blank=True,
                help_text="Or this many times the 99th percentile of the last week, "
                "where that is more than the limit.",
                null=True,
                verbose_name="times the usual",
            ),
        ),
        migrations.AddField(
            "reviewrule",
            "usual_p50",
            models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            "reviewrule",
            "usual_p99",
            models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            "reviewrule",
            "measured_at",
            models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddConstraint(
            "reviewrule",
            models.CheckConstraint(
                condition=models.Q(times_usual__isnull=True)
                | (models.Q(times_usual__gte=1) & ~models.Q(amount="roster")),
                name="review_rules_times_usual",
                violation_error_message="Only gains have a usual amount.",
            ),
        ),
    ]
