"""What the game does to characters outside of fights."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from persistence.contract.operate import MAX_REASON
from persistence.contract.operations import MAX_OP_ID


class Operation(models.Model):
    """A trade, a purchase, a quest: applied once under its `op_id`, for ever.

    `id` stands in the ledger where a combat has its session, and as the origin of the
    rows it made. `document` is what was asked, `answer` what the caller was told, again
    at each repetition. Nothing of it changes (trigger), but that it is undone, once,
    and that its reason is forgotten.
    """

    op_id = models.CharField(primary_key=True, max_length=MAX_OP_ID)
    id = models.UUIDField(unique=True)
    reason = models.CharField(max_length=MAX_REASON)
    caller = models.CharField(max_length=150, db_default=Value(""))
    sha256 = models.CharField(max_length=64)
    document = models.JSONField()
    answer = models.JSONField()
    applied_at = models.DateTimeField(db_default=Now())
    undone_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "operations"
        verbose_name = _("operation of the game")
        verbose_name_plural = _("operations of the game")
        indexes = [
            # The admin's list, newest first.
            models.Index(
                F("applied_at").desc(), F("op_id").desc(), name="operations_newest"
            ),
        ]

    def __str__(self) -> str:
        return self.op_id
