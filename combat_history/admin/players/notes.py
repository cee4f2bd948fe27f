"""What the team notes of a player, and to whom it has handed them over."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.http import HttpRequest
from django.urls import reverse

from combat_history.actions.triage import NOTE_PERMISSION, Say, Verb
from combat_history.admin.naming import player_url
from combat_history.admin.review.triage import NOTED, TriageForm, TriagePage, shown
from combat_history.models import Character, Triage

FORM = "player-note"
"""Id of the form, which stands outside of Django's own around the page."""


class NoteForm(TriageForm):
    """A note, and somebody to hand over to; nobody: it is done with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("verb", "hours"):
            del self.fields[name]
        for field in self.fields.values():
            field.widget.attrs["form"] = FORM
        note = cast("forms.Textarea", self.fields["note"].widget)
        note.attrs["rows"] = 2

    def said(self) -> Say:
        given = self.cleaned_data
        return Say(Verb.ASSIGN, assigned_to=given["assigned_to"], note=given["note"])


class NotePage(TriagePage):
    """Takes the note of one player, on whose page it is written."""

    form_class = NoteForm

    def back_url(self, request: HttpRequest) -> str:
        targets = self.targets(request)
        return player_url(int(targets[0])) if targets else super().back_url(request)


def context(row: Character, request: HttpRequest) -> dict[str, Any]:
    said = Triage.objects.filter(kind=Triage.Kind.PLAYER, target_id=str(row.pk))
    noted = said.values(*NOTED).first()
    may_note = request.user.has_perm(NOTE_PERMISSION)
    return {
        "noted": shown(noted) if noted and any(noted.values()) else None,
        "note_form": NoteForm(initial=noted) if may_note else None,
        "note_form_id": FORM,
        "note_url": reverse("admin:combat_history_character_triage"),
    }
