"""Review rules: what is held for a person instead of being settled."""

from __future__ import annotations

from django.db import models
from django.db.models import Q, Value
from django.utils.translation import gettext_lazy as _


class ReviewRule(models.Model):
    """A bound on what one participant gains. Over it a combat fails, held for review.

    The workers read the rules that are on with every batch.
    """

    class Amount(models.TextChoices):
        XP = "xp", _("XP")
        GOLD = "gold", _("gold")
        ITEMS = "items", _("pieces of an item")

    class Span(models.TextChoices):
        FIGHT = "fight", _("one fight")
        DAY = "day", _("24 hours")

    id = models.BigAutoField(primary_key=True)
    amount = models.CharField(_("what"), max_length=10, choices=Amount.choices)
    span = models.CharField(_("over"), max_length=10, choices=Span.choices)
    item_template_id = models.CharField(
        _("item template"),
        max_length=64,
        blank=True,
        db_default=Value(""),
        help_text=_("The id of one item; empty: each of them."),
    )
    limit = models.BigIntegerField(
        _("limit"), help_text=_("What one participant may gain; more is held.")
    )
    is_on = models.BooleanField(_("on"), db_default=Value(False))

    class Meta:
        db_table = "review_rules"
        verbose_name = _("review rule")
        verbose_name_plural = _("review rules")
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__in=["xp", "gold", "items"]),
                name="review_rules_known_amount",
            ),
            models.CheckConstraint(
                condition=Q(span="fight") | Q(span="day", amount__in=["xp", "gold"]),
                name="review_rules_known_span",
                violation_error_message=_("Items are bounded by the fight alone."),
            ),
            models.CheckConstraint(
                condition=Q(item_template_id="") | Q(amount="items"),
                name="review_rules_item_of_items",
                violation_error_message=_("Only items have an item template."),
            ),
            models.CheckConstraint(
                condition=Q(limit__gte=0), name="review_rules_limit"
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.amount}/{self.span} > {self.limit}"
