"""Who may call the HTTP API."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from combat_history.callers import MAX_NAME_LENGTH, Scope


class ApiToken(models.Model):
    """A bearer token of a bot or an engine; its secret is kept nowhere.

    Names are used once: what the audit says of one stays true. A rotation replaces
    `digest`. `last_used_at`: to the minute.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=MAX_NAME_LENGTH, unique=True)
    digest = models.CharField(
        max_length=64, unique=True, help_text=_("SHA-256 of the secret.")
    )
    scopes = ArrayField(models.CharField(max_length=40))
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150, db_default=Value(""))
    rotated_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "api_tokens"
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        permissions = [("manage_apitoken", _("Can make, rotate and revoke API tokens"))]
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=[str(scope) for scope in Scope])
                & Q(scopes__len__gt=0),
                name="api_tokens_known_scopes",
            ),
        ]

    def __str__(self) -> str:
        return self.name
