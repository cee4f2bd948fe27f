"""The page on which settlement is paused, drained and resumed.

A GET shows; `combat_history.actions.mode` acts, and checks the permission again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions import audit
from combat_history.actions import mode as control
from combat_history.admin.audit_words import verb_of
from combat_history.admin.base import Page, ReadOnlyAdmin, actor_of
from combat_history.admin.forms import ReasonForm
from combat_history.models import AuditEntry
from persistence.worker import mode as settlement
from persistence.worker.mode import Mode

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

TEMPLATE = "admin/combat_history/control.html"
TARGET = "settlement"
"""Type and id of it in the audit."""

MAX_EARLIER = 10

BUTTONS: dict[Mode, str | _StrPromise] = {
    Mode.RUNNING: _("Resume"),
    Mode.DRAINING: _("Drain"),
    Mode.PAUSED: _("Pause"),
}
MEANINGS: dict[Mode, str | _StrPromise] = {
    Mode.RUNNING: _("Settle what waits, and all that comes."),
    Mode.DRAINING: _("Settle what was accepted before now, then pause by itself."),
    Mode.PAUSED: _(
        "Settle nothing. Workers end the batch they are at; combats are accepted and "
        "wait in Redis, replays wait with them."
    ),
}


class ControlForm(ReasonForm):
    mode = forms.ChoiceField(
        choices=[(mode.value, label) for mode, label in BUTTONS.items()]
    )
    confirmed = forms.BooleanField(
        label=_("Yes, this is for the whole game and for everybody in it.")
    )


class ControlPage(Page):
    """In place of a list: there is one row at most."""

    route = ""
    name = "changelist"
    fresh_for = control.PERMISSION

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        form = ControlForm(request.POST if request.method == "POST" else None)
        may_act = request.user.has_perm(control.PERMISSION)
        if request.method == "POST" and (not may_act or form.is_valid()):
            return self._set_mode(request)
        self.require_view(request)
        state = settlement.read()
        others = [mode for mode in BUTTONS if mode is not state.mode]
        earlier = AuditEntry.objects.filter(target_type=TARGET, target_id=TARGET)
        context = {
            **self.context(request),
            "title": _("Pause and resume settlement"),
            "state": state,
            "meaning": MEANINGS[state.mode],
            "form": form,
            "offered": [
                (mode.value, BUTTONS[mode], MEANINGS[mode])
                for mode in others
                if may_act
            ],
            "earlier": [
                (entry, verb_of(entry.verb))
                for entry in earlier.order_by("-id")[:MAX_EARLIER]
            ],
        }
        return TemplateResponse(request, TEMPLATE, context)

    def _set_mode(self, request: HttpRequest) -> HttpResponse:
        actor = actor_of(request)
        asked = request.POST.get("mode", "")
        # Of somebody who may not, whatever was asked for is denied.
        mode = Mode(asked) if asked in Mode.values else Mode.PAUSED
        reason = request.POST.get("reason", "")
        try:
            is_new = control.set_mode_as(actor, mode, reason=reason)
        except (Error, ValueError) as error:
            verb = settlement.VERBS[mode]
            audit.record_failure(actor, verb, TARGET, [TARGET], reason, error)
            text = gettext("Nothing was changed: %s")
            messages.error(request, text % error)
        else:
            if is_new:
                text = gettext("Settlement is now: %s.")
                messages.success(request, text % mode.label)
            else:
                text = gettext("Nothing was changed: settlement was %s already.")
                messages.warning(request, text % mode.label)
        return HttpResponseRedirect(self.url())


class SettlementControlAdmin(ReadOnlyAdmin):
    pages = (ControlPage,)

    def get_urls(self) -> list[URLPattern]:
        return self.page_urls()
