"""What the game is told became true, and how far it has been."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from persistence.contract.events import EventKind
from persistence.contract.operations import MAX_OP_ID


class SettlementEvent(models.Model):
    """An event, written in the transaction that makes it true. Append-only (trigger).

    `session_id` of a combat, `op_id` of an operation of the game. Ids grow, with gaps.
    Whoever reads in their order reads to `settlement_events_horizon()`: below it
    nothing can appear any more. A trigger holds that back while a transaction that has
    taken ids is open. Only what is older than a day can be deleted.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(_("kind"), max_length=40)
    session_id = models.UUIDField(null=True)
    op_id = models.CharField(max_length=MAX_OP_ID, null=True)  # noqa: DJ001 -- NULL: of a combat
    character_ids = ArrayField(models.BigIntegerField())
    body = models.JSONField()
    created_at = models.DateTimeField(_("when"), db_default=Now())

    class Meta:
        db_table = "settlement_events"
        verbose_name = _("event")
        verbose_name_plural = _("events")
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=[str(kind) for kind in EventKind]),
                name="settlement_events_known_kind",
            ),
            models.CheckConstraint(
                condition=Q(session_id__isnull=False, op_id__isnull=True)
                | Q(session_id__isnull=True, op_id__isnull=False),
                name="settlement_events_of_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind}"


class EventPublication(models.Model):
    """How far events are published on a channel: the id of the last one."""

    channel = models.CharField(primary_key=True, max_length=20)
    published = models.BigIntegerField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "event_publications"
        verbose_name = _("publication of events")
        verbose_name_plural = _("publications of events")

    def __str__(self) -> str:
        return f"{self.channel} {self.published}"
