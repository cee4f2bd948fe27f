"""Replays of more combats than one transaction may hold: a batch and its items."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from persistence.contract.ids import short_id


class ReplayBatch(models.Model):
    """A person's decision to replay the combats that failed at that moment.

    `selection`: how they were chosen, as the pages show it. Actors are named, not
    referenced: a batch outlives its user, though it stops without them. 0 of `canary`
    or `stop_after` is none.
    """

    class State(models.TextChoices):
        RUNNING = "running", _("running")
        PAUSED = "paused", _("paused")
        FINISHED = "finished", _("finished")
        CANCELLED = "cancelled", _("cancelled")
        STOPPED = "stopped", _("stopped")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    selection = models.JSONField()
    shortages = models.CharField(max_length=10, null=True)  # noqa: DJ001 -- NULL: as the setting says
    actor_id = models.BigIntegerField()
    actor_name = models.CharField(_("who"), max_length=150)
    reason = models.TextField(_("reason"))
    state = models.CharField(
        _("state"), max_length=20, choices=State.choices, db_default=Value("running")
    )
    total = models.IntegerField(_("combats"), db_default=Value(0))
    canary = models.SmallIntegerField(
        db_default=Value(0),
        help_text=_("So many are answered before another one is replayed."),
    )
    stop_after = models.SmallIntegerField(
        db_default=Value(0),
        help_text=_("Failures in a row of one cause and subject that stop it."),
    )
    created_at = models.DateTimeField(_("begun"), db_default=Now())
    finished_at = models.DateTimeField(_("ended"), null=True)
    detail = models.TextField(_("detail"), db_default=Value(""))

    class Meta:
        db_table = "replay_batches"
        verbose_name = _("replay batch")
        verbose_name_plural = _("replay batches")
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    state__in=["running", "paused", "finished", "cancelled", "stopped"]
                ),
                name="replay_batches_known_state",
            ),
            models.CheckConstraint(
                condition=Q(shortages__isnull=True)
                | Q(shortages__in=["record", "fail"]),
                name="replay_batches_known_policy",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["running", "paused"], finished_at__isnull=True)
                | (~Q(state__in=["running", "paused"]) & Q(finished_at__isnull=False)),
                name="replay_batches_finished_iff_over",
            ),
            models.CheckConstraint(
                condition=Q(total__gte=0), name="replay_batches_total"
            ),
            models.CheckConstraint(
                condition=Q(canary__gte=0, stop_after__gte=0),
                name="replay_batches_caution",
            ),
        ]
        indexes = [models.Index(F("created_at").desc(), name="replay_batches_newest")]

    def __str__(self) -> str:
        return short_id(self.id)

    @property
    def is_over(self) -> bool:
        return self.state not in (self.State.RUNNING, self.State.PAUSED)


class ReplayBatchItem(models.Model):
    """A combat of a batch. What its replay led to stands in `replay_requests`.

    `position`: in the order in which the fights ended. `why`: it was skipped.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        REOPENED = "reopened", _("reopened")
        SKIPPED = "skipped", _("skipped")

    pk = models.CompositePrimaryKey("batch_id", "position")
    batch = models.ForeignKey(ReplayBatch, models.PROTECT, db_index=False)
    position = models.IntegerField()
    session_id = models.UUIDField()
    state = models.CharField(
        max_length=20, choices=State.choices, db_default=Value("waiting")
    )
    why = models.TextField(db_default=Value(""))

    class Meta:
        db_table = "replay_batch_items"
        verbose_name = _("combat of a replay batch")
        verbose_name_plural = _("combats of a replay batch")
        constraints = [
            # Two batches at once never wait for the same combat.
            models.UniqueConstraint(
                fields=["session_id"],
                condition=Q(state="waiting"),
                name="replay_batch_items_one_waiting",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "reopened", "skipped"]),
                name="replay_batch_items_known_state",
            ),
            models.CheckConstraint(
                condition=(Q(state="skipped") & ~Q(why=""))
                | (~Q(state="skipped") & Q(why="")),
                name="replay_batch_items_why_iff_skipped",
            ),
        ]
        indexes = [
            # The next chunk, the counts and the lists by outcome.
            models.Index(
                F("batch_id"),
                F("state"),
                F("position"),
                name="replay_batch_items_state",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} {self.state}"
