"""Triage in the lists: choose, say what the team says of it, see it in a column.

A GET and the list's action only show; `actions.triage` says it, and checks the
permission again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.db import Error
from django.db.models import CharField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Cast, JSONObject
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions.triage import (
    MAX_NOTE_LENGTH,
    PERMISSION,
    Say,
    Verb,
    permission_of,
    say,
)
from combat_history.admin.base import BoundedAdmin, Page, actor_of
from combat_history.admin.rendering import EMPTY, visible
from combat_history.models import (
    Character,
    CombatHistory,
    ParkedOperation,
    RejectedPayload,
    SettlementDiscrepancy,
    Triage,
)

if TYPE_CHECKING:
    from datetime import datetime

    from django.utils.safestring import SafeString

TEMPLATE = "admin/combat_history/triage.html"
MAX_SELECTED = 500
MAX_TEAM = 200
"""Users whom something can be assigned to by choosing from a list."""

VERBS = [
    (Verb.ACKNOWLEDGE, _("acknowledge")),
    (Verb.SNOOZE, _("snooze")),
    (Verb.WAKE, _("end the snooze")),
    (Verb.ASSIGN, _("assign")),
    (Verb.NOTE, _("note")),
]
SNOOZES = {
    "1": _("for an hour"),
    "24": _("for a day"),
    "168": _("for a week"),
    "720": _("for thirty days"),
}
NOTED = ("acknowledged_by", "assigned_to", "note", "snoozed_until")


class TriageForm(forms.Form):
    verb = forms.ChoiceField(
        label=_("What"), choices=[(str(verb), label) for verb, label in VERBS]
    )
    hours = forms.ChoiceField(
        label=_("Snooze"), choices=[("", EMPTY), *SNOOZES.items()]
    )
    assigned_to = forms.ChoiceField(label=_("Assign to"), required=False)
    note = forms.CharField(
        label=_("Note"),
        required=False,
        max_length=MAX_NOTE_LENGTH,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        team = User.objects.filter(is_staff=True, is_active=True).order_by("username")
        names = team.values_list("username", flat=True)[:MAX_TEAM]
        choice = cast("forms.ChoiceField", self.fields["assigned_to"])
        choice.choices = [("", EMPTY), *((name, name) for name in names)]
        self.fields["hours"].required = self.data.get("verb") == Verb.SNOOZE

    def clean_hours(self) -> str:
        hours: str = self.cleaned_data["hours"]
        if hours and self.cleaned_data.get("verb") == Verb.WAKE:
            raise forms.ValidationError(
                _("A snooze is either ended or begun: choose one of the two.")
            )
        return hours

    def said(self) -> Say:
        values = self.cleaned_data
        verb = Verb(values["verb"])
        hours = int(values["hours"] or 0)
        return Say(
            verb,
            assigned_to=values["assigned_to"],
            note=values["note"],
            until=timezone.now() + timedelta(hours=hours) if hours else None,
        )


KINDS: dict[type[Model], Triage.Kind] = {
    CombatHistory: Triage.Kind.COMBAT,
    SettlementDiscrepancy: Triage.Kind.DISCREPANCY,
    RejectedPayload: Triage.Kind.REJECTED,
    ParkedOperation: Triage.Kind.PARKED,
    Character: Triage.Kind.PLAYER,
}


class TriagePage(Page):
    """Takes what a list's action or another page was told; shows what was amiss in it.

    A combat's is `CombatTriagePage`.
    """

    route = "triage/"
    name = "triage"
    form_class: type[TriageForm] = TriageForm

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        permission = permission_of(KINDS[self.admin.model])
        may_triage = self.may_act(request, permission)
        if request.method != "POST":
            return HttpResponseRedirect(self.back_url(request))
        targets = self.targets(request)
        form = self.form_class(request.POST)
        if may_triage and not targets:
            text = gettext("Nothing was chosen, and nothing was changed.")
            messages.warning(request, text)
            return HttpResponseRedirect(self.back_url(request))
        if form.is_valid():
            return self._say(request, targets, form.said())
        if not may_triage:
            return self._say(request, targets, Say(Verb.ACKNOWLEDGE))
        return self.ask(request, targets, form)

    def targets(self, request: HttpRequest) -> list[str]:
        """What a POST names. Raises BadRequest."""
        targets = request.POST.getlist("target")
        try:
            found = [self.target(text) for text in targets]
        except ValueError as error:
            raise BadRequest(str(error)) from None
        if len(found) > MAX_SELECTED:
            raise BadRequest(f"at most {MAX_SELECTED} targets are expected")
        return found

    def target(self, text: str) -> str:
        """An id in its standard form. Raises ValueError."""
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise ValueError("ids are whole numbers")
        return str(int(text))

    def back_url(self, request: HttpRequest) -> str:
        return self.admin.list_url()

    def ask(
        self, request: HttpRequest, targets: Sequence[str], form: TriageForm
    ) -> HttpResponse:
        context = {
            **self.context(request),
            "title": _("Acknowledge, snooze, assign or note"),
            "form": form,
            "targets": targets,
            "action_url": self.url(),
            "back_url": self.back_url(request),
        }
        return TemplateResponse(request, TEMPLATE, context)

    def _say(
        self, request: HttpRequest, targets: Sequence[str], what: Say
    ) -> HttpResponse:
        try:
            said = say(
                KINDS[self.admin.model],
                targets,
                what,
                actor=actor_of(request),
            )
        except (Error, ValueError) as error:
            text = gettext("Nothing was changed: %s")
            messages.error(request, text % error)
            return HttpResponseRedirect(self.back_url(request))
        if count := len(said.done):
            text = ngettext(
                "Saved for %(count)d thing.",
                "Saved for %(count)d things.",
                count,
            )
            messages.success(request, text % {"count": count})
        if count := len(said.skipped):
            text = ngettext(
                "%(count)d thing does not wait any more.",
                "%(count)d things do not wait any more.",
                count,
            )
            messages.warning(request, text % {"count": count})
        return HttpResponseRedirect(self.back_url(request))


def may_triage(admin: BoundedAdmin, request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)


@admin.action(
    permissions=["triage"], description=_("Acknowledge, snooze, assign or note")
)
def triage_selected(
    admin: BoundedAdmin, request: HttpRequest, queryset: QuerySet[Any]
) -> HttpResponse:
    pks = queryset.order_by("pk").values_list("pk", flat=True)
    targets = [str(pk) for pk in pks[:MAX_SELECTED]]
    return TriagePage(admin).ask(request, targets, TriageForm())


def with_triage(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Each row of a list with what the team says of it, in the list's own query."""
    of_row = Triage.objects.filter(
        kind=KINDS[rows.model],
        target_id=Cast(OuterRef("pk"), CharField()),
    )
    said = of_row.values(said=JSONObject(**{name: name for name in NOTED}))
    noted: QuerySet[Any] = rows.annotate(triage=Subquery(said))
    return noted


@admin.display(description=_("triage"))
def triage(row: Any) -> SafeString | str:
    """The column of rows `with_triage`."""
    said = getattr(row, "triage", None)
    return shown(said) if said else EMPTY


def shown(said: dict[str, Any]) -> SafeString:
    """What the team says, for the eye; `said` holds NOTED, times as JSON or as such."""
    lines = []
    if said["acknowledged_by"]:
        lines.append(_("acknowledged by %s") % said["acknowledged_by"])
    until = _moment(said["snoozed_until"])
    if until is not None and until > timezone.now():
        lines.append(_("snoozed until %s") % localize(localtime(until)))
    if said["assigned_to"]:
        lines.append(_("assigned to %s") % said["assigned_to"])
    if said["note"]:
        lines.append(said["note"])
    if not lines:
        return format_html("{}", EMPTY)
    return format_html_join("", "<div>{}</div>", ((visible(str(t)),) for t in lines))


def _moment(value: Any) -> datetime | None:
    return parse_datetime(value) if isinstance(value, str) else value
