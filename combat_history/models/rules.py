"""Review rules: what is held for a person instead of being settled."""

from __future__ import annotations

from django.db import models
from django.db.models import Q, Value
from django.utils.translation import gettext_lazy as _


class ReviewRule(models.Model):
    """A bound on what one participant gains, or on who takes part unannounced.

    Over it a combat fails, held for review. The workers read the rules that are on with
    every batch. `usual_*`: the percentiles of the last week of what the rule bounds, of
    a sample, as of `measured_at`; with `times_usual` the limit grows with them.
    """

    class Amount(models.TextChoices):
        XP = "xp", _("XP")
        GOLD = "gold", _("gold")
        ITEMS = "items", _("pieces of an item")
        ROSTER = "roster", _("players whom the fight was not begun with")

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
    times_usual = models.PositiveSmallIntegerField(
        _("times the usual"),
        null=True,
        blank=True,
        help_text=_(
            "Or this many times the 99th percentile of the last week, where that is "
            "more than the limit."
        ),
    )
    is_on = models.BooleanField(_("on"), db_default=Value(False))
    usual_p50 = models.BigIntegerField(null=True, editable=False)
    usual_p99 = models.BigIntegerField(null=True, editable=False)
    measured_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "review_rules"
        verbose_name = _("review rule")
        verbose_name_plural = _("review rules")
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__in=["xp", "gold", "items", "roster"]),
                name="review_rules_known_amount",
            ),
            models.CheckConstraint(
                condition=Q(span="fight") | (Q(span="day") & ~Q(amount="roster")),
                name="review_rules_known_span",
                violation_error_message=_("A roster is of one fight."),
            ),
            models.CheckConstraint(
                condition=Q(item_template_id="") | Q(amount="items"),
                name="review_rules_item_of_items",
                violation_error_message=_("Only items have an item template."),
            ),
            models.CheckConstraint(
                condition=Q(limit__gte=0), name="review_rules_limit"
            ),
            models.CheckConstraint(
                condition=Q(times_usual__isnull=True)
                | (Q(times_usual__gte=1) & ~Q(amount="roster")),
                name="review_rules_times_usual",
                violation_error_message=_("Only gains have a usual amount."),
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.amount}/{self.span} > {self.bound}"

    @property
    def bound(self) -> int:
        """What may be gained by now; `LOAD_RULES` reckons it for the workers."""
        return max(self.limit, (self.times_usual or 0) * (self.usual_p99 or 0))
