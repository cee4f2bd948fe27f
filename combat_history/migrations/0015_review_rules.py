"""Review rules, and those that a new installation begins with: absurd amounts alone."""

from __future__ import annotations

from django.db import migrations, models

# A hundredth of what the contract lets one participant gain; of pieces likewise.
ABSURD = """
INSERT INTO review_rules (amount, span, "limit", is_on) VALUES
    ('xp', 'fight', 10000000, true), ('gold', 'fight', 10000000, true),
    ('items', 'fight', 10000, true)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("combat_history", "0014_forgetting"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReviewRule",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "amount",
                    models.CharField(
                        choices=[
                            ("xp", "XP"),
                            ("gold", "gold"),
                            ("items", "pieces of an item"),
                        ],
                        max_length=10,
                        verbose_name="what",
                    ),
                ),
                (
                    "span",
                    models.CharField(
                        choices=[("fight", "one fight"), ("day", "24 hours")],
                        max_length=10,
                        verbose_name="over",
                    ),
                ),
                (
                    "item_template_id",
                    models.CharField(
                        blank=True,
                        db_default=models.Value(""),
                        help_text="The id of one item; empty: each of them.",
                        max_length=64,
                        verbose_name="item template",
                    ),
                ),
                (
                    "limit",
                    models.BigIntegerField(
                        help_text="What one participant may gain; more is held.",
                        verbose_name="limit",
                    ),
                ),
                (
                    "is_on",
                    models.BooleanField(
                        db_default=models.Value(False), verbose_name="on"
                    ),
                ),
            ],
            options={
                "verbose_name": "review rule",
                "verbose_name_plural": "review rules",
                "db_table": "review_rules",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__in", ["xp", "gold", "items"])),
                        name="review_rules_known_amount",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("span", "fight"),
                            models.Q(("amount__in", ["xp", "gold"]), ("span", "day")),
                            _connector="OR",
                        ),
                        name="review_rules_known_span",
                        violation_error_message="Items are bounded by the fight alone.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("item_template_id", ""),
                            ("amount", "items"),
                            _connector="OR",
                        ),
                        name="review_rules_item_of_items",
                        violation_error_message="Only items have an item template.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("limit__gte", 0)), name="review_rules_limit"
                    ),
                ],
            },
        ),
        migrations.RunSQL(ABSURD, migrations.RunSQL.noop),
    ]
