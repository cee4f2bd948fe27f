"""What the world was given and lost by day, rolled up from the ledger."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class EconomyDay(models.Model):
    """What ledger lines of one day (UTC) and source gave of one thing, and took.

    Summed by line: what one moves within an inventory is neither. `source`: how a fight
    ended, or the kind of another line. Exact up to `EconomyProgress.ledger_id`.
    """

    class Kind(models.TextChoices):
        GOLD = "gold", _("gold")
        XP = "xp", _("XP")
        BALANCE = "balance", _("named balance")
        ITEM = "item", _("item")

    pk = models.CompositePrimaryKey("kind", "subject", "day", "source")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    subject = models.CharField(
        max_length=200, help_text=_("The id of a balance or an item; else empty.")
    )
    day = models.DateField()
    source = models.CharField(max_length=20)
    minted = models.DecimalField(max_digits=40, decimal_places=0)
    sunk = models.DecimalField(max_digits=40, decimal_places=0)

    class Meta:
        db_table = "economy_days"
        verbose_name = _("day of the economy")
        verbose_name_plural = _("economy")
        constraints = [
            models.CheckConstraint(
                condition=Q(minted__gte=0, sunk__gte=0), name="economy_days_amounts"
            ),
        ]
        indexes = [models.Index(fields=["day"], name="economy_days_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.kind} {self.subject}"


class EconomyEarner(models.Model):
    """What a character gained in one day, less what it lost; kept for some weeks."""

    pk = models.CompositePrimaryKey("day", "character_id")
    day = models.DateField()
    character_id = models.BigIntegerField()
    gold = models.DecimalField(max_digits=40, decimal_places=0)
    xp = models.DecimalField(max_digits=40, decimal_places=0)

    class Meta:
        db_table = "economy_earners"
        verbose_name = _("earner of a day")
        verbose_name_plural = _("earners by day")
        indexes = [
            models.Index(F("day"), F("gold").desc(), name="economy_earners_gold"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.character_id}"


class EconomyProgress(models.Model):
    """One row: up to which line the ledger is rolled up, and when that was seen."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    ledger_id = models.BigIntegerField(default=0)
    at = models.DateTimeField(null=True)

    class Meta:
        db_table = "economy_progress"
        verbose_name = _("progress of the economy")
        verbose_name_plural = _("progress of the economy")
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="economy_progress_one_row"),
        ]

    def __str__(self) -> str:
        return str(self.ledger_id)
