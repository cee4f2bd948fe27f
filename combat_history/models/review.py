"""Decisions of people about combats, and the audit: who decided what."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import TransactionNow
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from combat_history.models.search import SearchWords


class AuditEntry(models.Model):
    """One action of a person, also a denied or failed one. Append-only (trigger).

    Actors are named, not referenced: an entry outlives its user. `before` and `after`
    hold what the action changed, in the shape of its target; a `before` that the
    members of one decision do not share is an object by member.
    """

    class Outcome(models.TextChoices):
        DONE = "done", _("done")
        SKIPPED = "skipped", _("skipped")
        DENIED = "denied", _("denied")
        FAILED = "failed", _("failed")

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("when"), db_default=Now())
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(_("who"), max_length=150)
    verb = models.CharField(_("action"), max_length=40)
    target_type = models.CharField(max_length=40)
    target_id = models.CharField(
        _("target"), max_length=200, help_text=_("Empty where there are members.")
    )
    members = ArrayField(
        models.TextField(),
        null=True,
        help_text=_("The targets of one decision about several."),
    )
    reason = models.TextField(_("reason"), db_default=Value(""))
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome.choices)
    detail = models.TextField(_("detail"), db_default=Value(""))
    request_id = models.CharField(max_length=64, db_default=Value(""))

    class Meta:
        db_table = "audit_log"
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit")
        permissions = [("export_auditentry", _("Can export the audit"))]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome__in=["done", "skipped", "denied", "failed"]),
                name="audit_log_known_outcome",
            ),
        ]
        indexes = [
            models.Index(
                F("target_type"), F("target_id"), F("id"), name="audit_log_target"
            ),
            models.Index(F("actor_name"), F("id"), name="audit_log_actor"),
            GinIndex(SearchWords("reason"), name="audit_log_words"),
            GinIndex(
                fields=["members"],
                condition=Q(members__isnull=False),
                name="audit_log_members",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.verb} {self.target_id}"


class ReplayRequest(models.Model):
    """The terms of a replay, set by a person; the settlement obeys and answers here.

    `fingerprint`: of the state that was previewed; the run refuses where it moved.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        PROCESSED = "processed", _("settled")
        REFUSED = "refused", _("refused")
        FAILED = "failed", _("failed")

    id = models.BigAutoField(primary_key=True)
    session_id = models.UUIDField()
    revision = models.SmallIntegerField(db_default=Value(1))
    shortages = models.CharField(max_length=10, null=True)  # noqa: DJ001 -- NULL: as the setting says
    fingerprint = models.CharField(max_length=64, null=True)  # noqa: DJ001 -- NULL: nothing was previewed
    actor_name = models.CharField(max_length=150)
    reason = models.TextField()
    batch_id = models.UUIDField(null=True)
    state = models.CharField(
        max_length=20, choices=State.choices, db_default=Value("queued")
    )
    detail = models.TextField(db_default=Value(""))
    requested_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "replay_requests"
        verbose_name = _("replay request")
        verbose_name_plural = _("replay requests")
        constraints = [
            # The settlement obeys the queued one: there may be no two to choose from.
            models.UniqueConstraint(
                fields=["session_id"],
                condition=Q(state="queued"),
                name="replay_requests_one_queued",
            ),
            # A batch replays each of its combats once, however often it is advanced.
            models.UniqueConstraint(
                fields=["batch_id", "session_id"],
                condition=Q(batch_id__isnull=False),
                name="replay_requests_once_in_batch",
            ),
            models.CheckConstraint(
                condition=Q(shortages__isnull=True)
                | Q(shortages__in=["record", "fail"]),
                name="replay_requests_known_policy",
            ),
        ]
        indexes = [
            models.Index(F("session_id"), F("id"), name="replay_requests_session"),
            # How many of a batch are still queued, and its results by outcome.
            models.Index(
                F("batch_id"),
                F("state"),
                F("id"),
                condition=Q(batch_id__isnull=False),
                name="replay_requests_outcome",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} r{self.revision} {self.state}"


class CombatRevision(models.Model):
    """A corrected document. The original stays in `combat_history` as revision 1."""

    id = models.BigAutoField(primary_key=True)
    session_id = models.UUIDField()
    revision = models.SmallIntegerField()
    document = models.JSONField(help_text=_("Without replay_log, as in the history."))
    payload_sha256 = models.CharField(max_length=64)
    diff = models.JSONField(help_text=_("[{path, before, after}] to the one before."))
    author_name = models.CharField(max_length=150)
    reason = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "combat_revisions"
        verbose_name = _("corrected document")
        verbose_name_plural = _("corrected documents")
        constraints = [
            models.UniqueConstraint(
                fields=["session_id", "revision"], name="combat_revisions_once"
            ),
            models.CheckConstraint(
                condition=Q(revision__gte=2), name="combat_revisions_after_original"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} r{self.revision}"


class CombatRedaction(models.Model):
    """A document that holds a player's texts no longer. Append-only (trigger).

    The guards of documents let through what is recorded here in the same transaction,
    and nothing else.
    """

    id = models.BigAutoField(primary_key=True)
    session_id = models.UUIDField()
    character_id = models.BigIntegerField()
    redacted_at = models.DateTimeField(db_default=TransactionNow())
    payload_sha256 = models.CharField(
        max_length=64, help_text=_("Of what is left of the document.")
    )

    class Meta:
        db_table = "combat_redactions"
        verbose_name = _("redacted document")
        verbose_name_plural = _("redacted documents")
        constraints = [
            models.UniqueConstraint(
                fields=["session_id", "character_id"], name="combat_redactions_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} without {self.character_id}"


def standing_document() -> Coalesce:
    """The document of a CombatHistory row that counts: as received, or corrected."""
    corrected = CombatRevision.objects.filter(
        session_id=models.OuterRef("session_id"), revision=models.OuterRef("revision")
    )
    return Coalesce(
        models.Subquery(corrected.values("document")),
        F("result_payload"),
        output_field=models.JSONField(),
    )


class Triage(models.Model):
    """The team's word on one thing that waits: seen, by whom, until when.

    Or on a player: a note, and to whom they were handed over.
    """

    class Kind(models.TextChoices):
        COMBAT = "combat", _("failed combat")
        DISCREPANCY = "discrepancy", _("discrepancy")
        REJECTED = "rejected", _("rejected payload")
        PARKED = "parked", _("parked operation")
        PLAYER = "player", _("player")

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    target_id = models.CharField(max_length=64)
    acknowledged_by = models.CharField(max_length=150, db_default=Value(""))
    acknowledged_at = models.DateTimeField(null=True)
    assigned_to = models.CharField(max_length=150, db_default=Value(""))
    note = models.TextField(db_default=Value(""))
    snoozed_until = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "triage"
        verbose_name = _("triage")
        verbose_name_plural = _("triage")
        permissions = [("note_player", _("Can write notes of players, and hand over"))]
        constraints = [
            models.UniqueConstraint(fields=["kind", "target_id"], name="triage_once"),
        ]
        indexes = [
            # The worklist: players who were handed over.
            models.Index(
                fields=["updated_at"],
                condition=Q(kind="player") & ~Q(assigned_to=""),
                name="triage_players",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target_id}"


class SettlementControl(models.Model):
    """One row: whether settlement runs. No row: it does.

    `draining`: what was accepted before `since` is settled, then it is paused.
    """

    class Mode(models.TextChoices):
        RUNNING = "running", _("running")
        DRAINING = "draining", _("draining")
        PAUSED = "paused", _("paused")

    id = models.SmallIntegerField(primary_key=True, default=1)
    mode = models.CharField(max_length=20, choices=Mode.choices)
    since = models.DateTimeField(db_default=Now())
    actor_name = models.CharField(max_length=150)
    reason = models.TextField(db_default=Value(""))

    class Meta:
        db_table = "settlement_control"
        verbose_name = _("settlement control")
        verbose_name_plural = _("settlement control")
        permissions = [("control_settlement", _("Can pause and resume settlement"))]
        constraints = [
            models.CheckConstraint(
                condition=Q(id=1), name="settlement_control_one_row"
            ),
            models.CheckConstraint(
                condition=Q(mode__in=["running", "draining", "paused"]),
                name="settlement_control_known_mode",
            ),
        ]

    def __str__(self) -> str:
        return self.mode


class MinuteCount(models.Model):
    """The count of one event in one minute, by process: no two wait for a row."""

    pk = models.CompositePrimaryKey("minute", "name", "process")
    minute = models.DateTimeField()
    name = models.CharField(max_length=60)
    process = models.CharField(max_length=100)
    count = models.BigIntegerField()

    class Meta:
        db_table = "minute_counts"
        verbose_name = _("minute count")
        verbose_name_plural = _("minute counts")

    def __str__(self) -> str:
        return f"{self.minute:%H:%M} {self.name} {self.count}"
