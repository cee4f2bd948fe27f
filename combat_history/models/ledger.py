"""Append-only records: what every combat moved, and what could not be applied."""

from __future__ import annotations

from django.contrib.postgres.aggregates import JSONBAgg
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import JSONObject, Now
from django.utils.translation import gettext_lazy as _

from combat_history.callers import MAX_NAME_LENGTH
from combat_history.models.operation import Operation


class LedgerLine(models.Model):
    """Deltas of one combat or operation for one character, and the balances after them.

    One line per player participant, zeros included, and per character of an operation
    of the game, whose `id` is its `session_id`; one `operation` line per applied run of
    inventory operations, without a session and without deltas; one `compensation` line
    for each line that an admin undid, its deltas reversed. Lines of
    a character are ordered by id: they are written under its row lock. `items` holds
    the inventory movements: {inventory_id, item_template_id, kind, delta, after,
    durability_after?, properties?, image?}, the image being the full row where it was
    removed.
    `balances` holds the named balances that moved, {id: {delta, after}}; NULL: none.

    No foreign keys: `reconcile` proves both sides, and a check per line would cost a
    tenth of the settlement.
    """

    class Kind(models.TextChoices):
        OPENING = "opening", _("opening balance")
        SETTLEMENT = "settlement", _("settlement")
        OPERATION = "operation", _("operations")
        COMPENSATION = "compensation", _("undo")

    id = models.BigAutoField(primary_key=True)
    session_id = models.UUIDField(null=True)
    revision = models.SmallIntegerField(db_default=Value(1))
    character_id = models.BigIntegerField()
    kind = models.CharField(max_length=20, choices=Kind.choices)
    xp_delta = models.BigIntegerField()
    gold_delta = models.BigIntegerField()
    xp_after = models.BigIntegerField()
    gold_after = models.BigIntegerField()
    items = models.JSONField(db_default=Value([], output_field=models.JSONField()))
    balances = models.JSONField(null=True)
    recorded_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "settlement_ledger"
        verbose_name = _("ledger line")
        verbose_name_plural = _("ledger")
        constraints = [
            # Lines without a session have a NULL here, which equals no other.
            models.UniqueConstraint(
                fields=["session_id", "revision", "character_id", "kind"],
                name="settlement_ledger_once",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind__in=["opening", "settlement", "operation", "compensation"]
                ),
                name="settlement_ledger_known_kind",
            ),
            models.CheckConstraint(
                condition=Q(kind="operation")
                | Q(kind__in=["settlement", "compensation"], session_id__isnull=False)
                | Q(kind="opening", session_id__isnull=True),
                name="settlement_ledger_session_by_kind",
            ),
            models.CheckConstraint(
                condition=Q(gold_after__gte=0) & Q(xp_after__gte=0),
                name="settlement_ledger_balances_not_negative",
            ),
        ]
        indexes = [
            # A player's lines in the order they were applied.
            models.Index(
                F("character_id"), F("id"), name="settlement_ledger_character"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.character_id} {self.session_id or ''}"


def settled_amounts() -> models.Subquery:
    """What a CombatHistory row moved: [{character_id, gold, balances}], or NULL."""
    lines = LedgerLine.objects.filter(
        session_id=models.OuterRef("session_id"),
        revision=models.OuterRef("revision"),
        kind=LedgerLine.Kind.SETTLEMENT,
    )
    moved = JSONObject(
        character_id="character_id", gold="gold_delta", balances="balances"
    )
    grouped = lines.order_by().values("session_id").annotate(moved=JSONBAgg(moved))
    return models.Subquery(grouped.values("moved"))


def operations_of(character_id: int) -> models.QuerySet[Operation]:
    """The operations of the game that moved something of the character."""
    lines = LedgerLine.objects.filter(
        character_id=character_id, kind=LedgerLine.Kind.OPERATION
    )
    return Operation.objects.filter(id__in=lines.values("session_id"))


class AppliedOperation(models.Model):
    """Idempotency key of a Saver other than the combat's, written with its effects.

    `sha256` identifies the operation that was applied under the key; `inventory_id` is
    the row it made, which later operations name as `op:<op_id>`.
    """

    key = models.CharField(primary_key=True, max_length=200)
    scope = models.CharField(max_length=40)
    sha256 = models.CharField(max_length=64, db_default=Value(""))
    inventory_id = models.BigIntegerField(null=True)
    applied_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "applied_operations"
        verbose_name = _("applied operation")
        verbose_name_plural = _("applied operations")

    def __str__(self) -> str:
        return self.key


class ParkedOperation(models.Model):
    """An operation or a snapshot that a save could not apply; it waits for a person.

    The same operation of the same player is one row. `blocked_by`: the `op_id` of the
    parked operation that this one needs. A retry sets `retry_requested_at`; the next
    save of the scope tries the requested ones first, in the order of their ids.
    """

    class Resolution(models.TextChoices):
        APPLIED = "applied", _("applied")
        DISCARDED = "discarded", _("discarded")

    id = models.BigAutoField(primary_key=True)
    scope = models.CharField(max_length=40)
    character_id = models.BigIntegerField()
    op_id = models.CharField(max_length=100)
    operation = models.JSONField()
    code = models.CharField(max_length=40)
    detail = models.TextField(db_default=Value(""))
    blocked_by = models.CharField(max_length=100, null=True)  # noqa: DJ001 -- NULL: at fault itself
    times_seen = models.IntegerField(db_default=Value(1))
    parked_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    retry_requested_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    resolution = models.CharField(  # noqa: DJ001 -- NULL: still parked
        max_length=20, choices=Resolution.choices, null=True
    )

    class Meta:
        db_table = "parked_operations"
        verbose_name = _("parked operation")
        verbose_name_plural = _("parked operations")
        permissions = [
            ("replay_parkedoperation", _("Can retry parked operations")),
            ("discard_parkedoperation", _("Can discard parked operations")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "character_id", "op_id"],
                name="parked_operations_once",
            ),
            models.CheckConstraint(
                condition=Q(resolved_at__isnull=True, resolution__isnull=True)
                | Q(resolved_at__isnull=False, resolution__isnull=False),
                name="parked_operations_resolved_has_resolution",
            ),
        ]
        indexes = [
            # Each save asks what of its player is still parked.
            models.Index(
                fields=["character_id", "id"],
                condition=Q(resolved_at__isnull=True),
                name="parked_operations_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.character_id} {self.op_id}"


class ScenarioSession(models.Model):
    """The newest saved snapshot of a travel or quest; a lower version never wins."""

    session_id = models.UUIDField(primary_key=True)
    character_id = models.BigIntegerField(db_index=True)
    version = models.BigIntegerField()
    progress = models.JSONField()
    closed_at = models.DateTimeField(null=True)
    saved_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "scenario_sessions"
        verbose_name = _("scenario session")
        verbose_name_plural = _("scenario sessions")
        constraints = [
            models.CheckConstraint(
                condition=Q(version__gte=0),
                name="scenario_sessions_version_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} v{self.version}"


class RejectedPayload(models.Model):
    """A payload that could not become a history row, a conflict, or a lost payload.

    The same bytes for the same session are one row; `times_seen` counts them.
    `handed_over_*`: that a person put it right and handed it over, as which session,
    and the hash of that document, its session id aside.
    """

    id = models.BigAutoField(primary_key=True)
    session_id = models.UUIDField(null=True)
    payload_sha256 = models.CharField(max_length=64, null=True)  # noqa: DJ001 -- NULL: the payload is gone
    code = models.CharField(max_length=40, db_index=True)
    errors = models.JSONField(db_default=Value([], output_field=models.JSONField()))
    raw = models.BinaryField(null=True)
    times_seen = models.IntegerField(db_default=Value(1))
    received_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    participant_ids = ArrayField(
        models.BigIntegerField(),
        db_default=Value([], output_field=ArrayField(models.BigIntegerField())),
        help_text=_("Players whom the bytes name, as far as they can be read."),
    )
    caller = models.CharField(
        max_length=MAX_NAME_LENGTH,
        db_default=Value(""),
        help_text=_("The API token that handed it over, if one did."),
    )
    handed_over_at = models.DateTimeField(null=True)
    handed_over_by = models.CharField(max_length=150, db_default=Value(""))
    handed_over_as = models.UUIDField(null=True)
    handed_over_sha256 = models.CharField(max_length=64, db_default=Value(""))

    class Meta:
        db_table = "rejected_payloads"
        verbose_name = _("rejected payload")
        verbose_name_plural = _("rejected payloads")
        constraints = [
            # NULLs are equal: bytes that name no session are one row, too.
            models.UniqueConstraint(
                fields=["session_id", "payload_sha256"],
                nulls_distinct=False,
                name="rejected_payloads_once",
            ),
        ]
        indexes = [
            # A player's page: what of theirs was refused.
            GinIndex(fields=["participant_ids"], name="rejected_payloads_players"),
            # Whether a fight was handed over before, from whatever row.
            models.Index(
                fields=["handed_over_sha256"],
                condition=Q(handed_over_at__isnull=False),
                name="rejected_payloads_handed_over",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.session_id or ''}"


class SettlementDiscrepancy(models.Model):
    """One shortage of what was settled or undone all the same."""

    id = models.BigAutoField(primary_key=True)
    session_id = models.UUIDField(db_index=True)
    revision = models.SmallIntegerField(db_default=Value(1))
    character_id = models.BigIntegerField()
    code = models.CharField(max_length=40)
    inventory_id = models.BigIntegerField(null=True)
    item_template_id = models.CharField(max_length=64, null=True)  # noqa: DJ001 -- NULL: gold, not an item
    balance_id = models.CharField(max_length=64, null=True)  # noqa: DJ001 -- NULL: no named balance
    wanted = models.BigIntegerField()
    applied = models.BigIntegerField()
    recorded_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "settlement_discrepancies"
        verbose_name = _("discrepancy")
        verbose_name_plural = _("discrepancies")
        indexes = [
            models.Index(F("recorded_at"), name="discrepancies_recorded"),
            models.Index(F("character_id"), name="discrepancies_character"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.character_id} {self.session_id}"
