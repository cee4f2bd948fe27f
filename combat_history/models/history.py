"""combat_history and what hangs on it: the immutable record of every fight."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from combat_history.callers import MAX_NAME_LENGTH
from persistence.contract.fight_log import unpack


class Status(models.TextChoices):
    PENDING = "pending", _("pending")
    """Recorded, nothing applied: waits for a replay, isolation or a paused system."""
    PROCESSED = "processed", _("settled")
    """Written in the transaction that applied the effects. Final."""
    FAILED = "failed", _("failed")
    """Nothing applied; only an audited replay (to pending) or voiding leaves it."""
    VOIDED = "voided", _("voided")
    """An admin decided that it will never be applied. Final."""


class CombatHistory(models.Model):
    """One fight. The document and its identity never change (trigger).

    Allowed transitions (trigger): pending -> processed | failed | voided,
    failed -> pending | voided.
    """

    # Defaults of the database: another program's three-column INSERT has to work.
    session_id = models.UUIDField(primary_key=True)
    participant_ids = ArrayField(
        models.BigIntegerField(), help_text=_("Players only, ascending.")
    )
    finished_at = models.DateTimeField(db_default=Now())
    settlement_status = models.CharField(
        max_length=20, choices=Status.choices, db_default=Value("pending")
    )
    result_payload = models.JSONField(help_text=_("The document without replay_log."))
    payload_sha256 = models.CharField(max_length=64, null=True)  # noqa: DJ001 -- unknown for rows that another program's three-column INSERT wrote
    raw_payload = models.BinaryField(
        null=True, help_text=_("Exact bytes of a document that jsonb refuses.")
    )
    revision = models.SmallIntegerField(
        db_default=Value(1), help_text=_("Revision whose ledger lines are applied.")
    )
    received_at = models.DateTimeField(db_default=Now())
    caller = models.CharField(
        max_length=MAX_NAME_LENGTH,
        db_default=Value(""),
        help_text=_("The API token that handed it over, if one did."),
    )
    settled_at = models.DateTimeField(null=True)
    compensated_at = models.DateTimeField(
        null=True, help_text=_("Its effects were undone by counter-lines.")
    )
    due_at = models.DateTimeField(
        db_default=Now(), help_text=_("A pending row past this time is swept.")
    )
    attempts = models.SmallIntegerField(
        db_default=Value(0), help_text=_("Tries that began and never ended.")
    )
    failed_at = models.DateTimeField(
        null=True, help_text=_("When it failed last, whatever came after; a trigger.")
    )
    failure_code = models.CharField(max_length=40, null=True)  # noqa: DJ001 -- NULL: has not failed
    failure_detail = models.TextField(null=True)  # noqa: DJ001 -- NULL: has not failed
    failure_subject = models.CharField(
        max_length=200,
        db_default=Value(""),
        help_text=_("What exactly it failed for: an item, a character, a place."),
    )
    failure_traceback = models.TextField(null=True)  # noqa: DJ001 -- NULL: a domain failure

    class Meta:
        db_table = "combat_history"
        verbose_name = _("combat")
        verbose_name_plural = _("combats")
        permissions = [
            ("replay_combat", _("Can replay failed combats")),
            ("correct_combat", _("Can correct the document of a failed combat")),
            ("void_combat", _("Can void combats that are not settled")),
            ("compensate_combat", _("Can undo settled combats")),
            ("export_combathistory", _("Can export combats")),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(settlement_status__in=Status.values),
                name="combat_history_known_status",
            ),
            models.CheckConstraint(
                condition=Q(settlement_status="processed", settled_at__isnull=False)
                | (~Q(settlement_status="processed") & Q(settled_at__isnull=True)),
                name="combat_history_settled_iff_processed",
            ),
            models.CheckConstraint(
                condition=~Q(settlement_status="failed")
                | Q(failure_code__isnull=False),
                name="combat_history_failed_has_code",
            ),
            models.CheckConstraint(
                condition=Q(attempts__gte=0), name="combat_history_attempts"
            ),
            models.CheckConstraint(
                condition=Q(compensated_at__isnull=True)
                | Q(settlement_status="processed"),
                name="combat_history_compensated_was_processed",
            ),
        ]
        indexes = [
            # For questions by hand: the last fights of a player have their own table.
            GinIndex(fields=["participant_ids"], name="idx_combat_hist_participants"),
            # The admin's changelist, newest first.
            models.Index(
                F("finished_at").desc(),
                F("session_id").desc(),
                name="combat_history_newest",
            ),
            # The sweep: what waits too long.
            models.Index(
                fields=["due_at"],
                condition=Q(settlement_status="pending"),
                name="combat_history_pending",
            ),
            # Failure review and alerts.
            models.Index(
                fields=["received_at"],
                condition=Q(settlement_status="failed"),
                name="combat_history_failed",
            ),
            # Failures of one cause and subject, to be looked at and replayed together.
            models.Index(
                fields=["failure_code", "failure_subject", "received_at"],
                condition=Q(settlement_status="failed"),
                name="combat_history_failed_for",
            ),
            # The admin's filters: few rows, or none at all, among ten million.
            models.Index(
                F("finished_at").desc(),
                condition=Q(settlement_status="voided"),
                name="combat_history_voided",
            ),
            models.Index(
                F("finished_at").desc(),
                condition=Q(compensated_at__isnull=False),
                name="combat_history_compensated",
            ),
            # The sweep: what was undone while Redis may still tell of it.
            models.Index(
                fields=["compensated_at"],
                condition=Q(compensated_at__isnull=False),
                name="combat_history_undone",
            ),
            # Figures of the last hour, day, week; rows are written in that order.
            BrinIndex(
                fields=["settled_at"],
                autosummarize=True,
                name="combat_history_settled_at",
            ),
        ]

    def __str__(self) -> str:
        return str(self.session_id)

    def document(self) -> dict[str, Any]:
        """The document as received, fight log included. One extra query."""
        document = dict(self.result_payload)
        fight_log = CombatReplay.objects.filter(session_id=self.session_id).first()
        if fight_log is not None:
            document["replay_log"] = unpack(bytes(fight_log.data))
        return document


class CombatParticipant(models.Model):
    """Answers "last fights of a player" at any size: the key is the index it needs."""

    # No foreign key to characters: combats of unknown ones are recorded, too. The order
    # of the key is that of a player's fights by time: docs/decisions/0033.
    pk = models.CompositePrimaryKey("character_id", "finished_at", "session_id")
    character_id = models.BigIntegerField()
    finished_at = models.DateTimeField()
    session_id = models.UUIDField()

    class Meta:
        db_table = "combat_participants"
        verbose_name = _("participant")
        verbose_name_plural = _("participants")

    def __str__(self) -> str:
        return f"{self.character_id} in {self.session_id}"


class CombatReplay(models.Model):
    """The fight log of a combat, zstd-compressed JSON (`contract.fight_log`)."""

    session_id = models.UUIDField(primary_key=True)
    data = models.BinaryField()

    class Meta:
        db_table = "combat_replay"
        verbose_name = _("fight log")
        verbose_name_plural = _("fight logs")

    def __str__(self) -> str:
        return str(self.session_id)


class SettlementAttempt(models.Model):
    """A try of a combat that was settled alone. No `ended_at`: the try never ended."""

    id = models.BigAutoField(primary_key=True)
    session_id = models.UUIDField(db_index=True)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=200, db_default=Value(""))
    outcome = models.CharField(max_length=20, db_default=Value(""))
    code = models.CharField(max_length=40, db_default=Value(""))
    detail = models.TextField(db_default=Value(""))

    class Meta:
        db_table = "settlement_attempts"
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")

    def __str__(self) -> str:
        return f"{self.session_id} {self.started_at:%Y-%m-%d %H:%M:%S}"


class SettlementFailure(models.Model):
    """One failure of a combat, kept whatever becomes of the combat. Append-only.

    A trigger writes it where a combat becomes `failed`, in the same transaction.
    """

    id = models.BigAutoField(primary_key=True)
    session_id = models.UUIDField()
    revision = models.SmallIntegerField()
    failed_at = models.DateTimeField()
    code = models.CharField(max_length=40)
    detail = models.TextField()
    traceback = models.TextField()

    class Meta:
        db_table = "settlement_failures"
        verbose_name = _("failure of a combat")
        verbose_name_plural = _("failures of combats")
        indexes = [
            models.Index(F("session_id"), F("id"), name="settlement_failures_session"),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} {self.code}"
