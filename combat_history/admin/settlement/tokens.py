"""Tokens of the HTTP API: listed, made, rotated and revoked by whoever may.

A secret stands in the answer to the form that asked for it and nowhere else: not in a
message, which a session would keep, and on no page that can be opened again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions import api_tokens, audit
from combat_history.actions.mode import Actor
from combat_history.admin.base import Page, ReadOnlyAdmin, actor_of, audit_of, column
from combat_history.admin.forms import ReasonForm
from combat_history.callers import MAX_NAME_LENGTH, NAME, Scope
from combat_history.models import ApiToken

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

TEMPLATE = "admin/combat_history/apitoken/token.html"

SCOPES: dict[Scope, str | _StrPromise] = {
    Scope.RESULTS_READ: _("ask what became of fights, list a character's, see a belt"),
    Scope.COMBATS_SUBMIT: _(
        "play fights and hand over results, which gives XP, gold and items"
    ),
    Scope.BELTS_RESERVE: _("reserve belts of a fight that goes on"),
    Scope.OPERATIONS_WRITE: _("give and take XP, gold and items outside of fights"),
    Scope.EVENTS_READ: _("read what became true of all fights and operations"),
}
"""What each lets a token do; one without words does nothing yet."""


class MakeForm(ReasonForm):
    name = forms.RegexField(
        label=_("Name"),
        regex=rf"\A(?:{NAME.pattern})\Z",
        max_length=MAX_NAME_LENGTH,
        help_text=_("a-z, 0-9, _ . and -. It is used once: the audit names it."),
    )
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        choices=lambda: [
            (str(scope), f"{scope}: {SCOPES.get(scope, _('nothing yet'))}")
            for scope in Scope
        ],
        widget=forms.CheckboxSelectMultiple,
    )


class TokenPage(Page):
    """A GET asks; `combat_history.actions.api_tokens` acts, and denies who may not."""

    fresh_for = api_tokens.PERMISSION
    form_class: type[ReasonForm] = ReasonForm
    verb: str
    title: str | _StrPromise
    notice: str | _StrPromise

    @abstractmethod
    def act(self, name: str, said: Mapping[str, Any], actor: Actor) -> str:
        """The secret to be shown, or nothing."""

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        may_act = self.may_act(request, api_tokens.PERMISSION)
        token = get_object_or_404(ApiToken, **named) if named else None
        form = self.form_class(request.POST if request.method == "POST" else None)
        if request.method == "POST" and (not may_act or form.is_valid()):
            return self._act(request, token, form)
        return self._page(request, token, form=form)

    def _act(
        self, request: HttpRequest, token: ApiToken | None, form: ReasonForm
    ) -> HttpResponse:
        name = token.name if token else request.POST.get("name", "")
        user, reason = actor_of(request), request.POST.get("reason", "")
        actor = api_tokens.actor_permitted(user, self.verb, name, reason)
        try:
            secret = self.act(name, form.cleaned_data, actor)
        except (Error, ValueError) as error:
            audit.record_failure(
                user, self.verb, api_tokens.TARGET, [name], reason, error
            )
            messages.error(request, gettext("Nothing was changed: %s") % error)
            return HttpResponseRedirect(self.admin.list_url())
        if secret:
            return self._page(request, token, name=name, secret=secret)
        messages.success(request, gettext("The token %s is revoked.") % name)
        return HttpResponseRedirect(self.admin.list_url())

    def _page(
        self, request: HttpRequest, token: ApiToken | None, **told: Any
    ) -> HttpResponse:
        context = {
            **self.context(request),
            "title": self.title,
            "notice": self.notice,
            "short_id": token.name if token else "",
            "back_url": _url("change", token) if token else self.admin.list_url(),
            **told,
        }
        return TemplateResponse(request, TEMPLATE, context)


class MakePage(TokenPage):
    route = "make/"
    name = "make"
    form_class = MakeForm
    verb = api_tokens.MAKE
    title = _("Make a token")
    notice = _("Whoever holds a token may do over HTTP what its scopes say.")

    def act(self, name: str, said: Mapping[str, Any], actor: Actor) -> str:
        scopes, reason = said["scopes"], said["reason"]
        return api_tokens.make(name, scopes, actor=actor, reason=reason)


class RotatePage(TokenPage):
    route = "<int:pk>/rotate/"
    name = "rotate"
    verb = api_tokens.ROTATE
    title = _("Rotate the token")
    notice = _(
        "It gets another secret. The one before is good no more within five seconds."
    )

    def act(self, name: str, said: Mapping[str, Any], actor: Actor) -> str:
        return api_tokens.rotate(name, actor=actor, reason=said["reason"])


class RevokePage(TokenPage):
    route = "<int:pk>/revoke/"
    name = "revoke"
    verb = api_tokens.REVOKE
    title = _("Revoke the token")
    notice = _(
        "It is good no more within five seconds, for ever. Its name stays on what it "
        "caused, and is not used again."
    )

    def act(self, name: str, said: Mapping[str, Any], actor: Actor) -> str:
        api_tokens.revoke(name, actor=actor, reason=said["reason"])
        return ""


def _url(page: str, token: ApiToken) -> str:
    return reverse(f"admin:combat_history_apitoken_{page}", args=[token.pk])


def _scopes(token: ApiToken) -> str:
    return ", ".join(token.scopes)


class ApiTokenAdmin(ReadOnlyAdmin):
    """The digest is shown to nobody: it tells who calls in Redis' keys."""

    pages = (MakePage, RotatePage, RevokePage)
    details = (
        column(_("name"), "name"),
        column(_("scopes"), _scopes, name="scopes"),
        column(_("last used"), "last_used_at"),
        column(_("made"), "created_at"),
        column(_("made by"), "created_by"),
        column(_("rotated"), "rotated_at"),
        column(_("revoked"), "revoked_at"),
    )
    list_display = details
    ordering = ("name",)
    session_field = ""
    character_field = ""

    def name_of(self, obj: Any) -> str:
        return str(obj)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        may_act = request.user.has_perm(api_tokens.PERMISSION)
        if row.revoked_at is not None or not may_act:
            return {}
        offered = [("rotate", gettext("Rotate")), ("revoke", gettext("Revoke"))]
        return {"decisions": [(_url(page, row), label) for page, label in offered]}

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        return audit_of(row.name if row else object_id)
