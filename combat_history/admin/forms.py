"""What the pages that act ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.utils.translation import gettext_lazy as _

from combat_history.actions.audit import MAX_REASON_LENGTH, MIN_REASON_LENGTH

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

SHORTAGES = [
    ("record", _("settle with what is there; record each shortage")),
    ("fail", _("fail the combat if anything falls short")),
]
"""What a replay does where something falls short."""


def reason_field(help_text: _StrPromise) -> forms.CharField:
    return forms.CharField(
        label=_("Reason"),
        min_length=MIN_REASON_LENGTH,
        max_length=MAX_REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
        help_text=help_text,
    )


class ReasonForm(forms.Form):
    reason = reason_field(_("It stays in the audit for ever."))


class DocumentForm(ReasonForm):
    document = forms.CharField(
        label=_("Document"),
        strip=False,
        widget=forms.Textarea(
            attrs={
                "rows": 24,
                "cols": 100,
                "spellcheck": "false",
                "class": "combat-document",
            }
        ),
        help_text=_("The whole document as it should have been sent, as JSON."),
    )
