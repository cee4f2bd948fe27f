"""The pages of retry and discard: choose, confirm with a reason, read what came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import BadRequest
from django.db import Error
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions.parked import (
    MAX_OPERATIONS,
    Action,
    Decision,
    SkipReason,
    discard,
    preview,
    retry,
)
from combat_history.admin.base import BoundedAdmin, Page, actor_of
from combat_history.admin.forms import reason_field
from combat_history.admin.naming import names
from combat_history.admin.rendering import visible
from combat_history.admin.review.parked_codes import explained
from combat_history.models import ParkedOperation
from persistence.contract.changes import MAX_BIGINT

MAX_LISTED = 20
"""Operations shown one by one before a decision."""

DECIDE = {Action.RETRY: retry, Action.DISCARD: discard}

TITLES = {
    Action.RETRY: _("Retry parked operations"),
    Action.DISCARD: _("Discard parked operations"),
}
BUTTONS = {Action.RETRY: _("Retry"), Action.DISCARD: _("Discard")}
NOTICES = {
    Action.RETRY: _(
        "The next save of the player tries these operations again, in the order in "
        "which they were parked; those that wait for them follow. One whose cause was "
        "not removed is parked again."
    ),
    Action.DISCARD: _(
        "These operations will never be applied, and nobody can take that back. What "
        "waits for them stays parked until it is retried or discarded."
    ),
}
SKIPPED = {
    SkipReason.APPLIED: _("already applied"),
    SkipReason.DISCARDED: _("already discarded"),
    SkipReason.UNKNOWN: _("not among the parked operations"),
}


class DecisionForm(forms.Form):
    reason = reason_field(
        _("Why this is right. It stays in the history of every operation chosen.")
    )


class DecisionPage(Page):
    """Asks for a reason to retry or discard, of one operation or many.

    A GET and the list's action only show; `actions.parked` does, and checks the
    permission again.
    """

    action: ClassVar[Action]

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        may_act = self.may_act(request, self.action.permission)
        if request.method != "POST":
            return self._confirmation(request, _pks(request.GET), DecisionForm())
        pks = _pks(request.POST)
        form = DecisionForm(request.POST)
        if not may_act or form.is_valid():
            return self._decide(request, pks)
        return self._confirmation(request, pks, form)

    def show_selected(
        self, request: HttpRequest, queryset: QuerySet[ParkedOperation]
    ) -> HttpResponse:
        """Show what would be done: what is parked still first, oldest first."""
        pks = queryset.order_by("-resolved_at", "pk").values_list("pk", flat=True)
        selected = list(pks[: MAX_OPERATIONS + 1])
        if len(selected) > MAX_OPERATIONS:
            text = gettext(
                "At most %(count)d operations are decided on at a time; the others "
                "stay as they are. Repeat the action for them."
            )
            messages.warning(request, text % {"count": MAX_OPERATIONS})
        return self._confirmation(request, selected[:MAX_OPERATIONS], DecisionForm())

    def _decide(self, request: HttpRequest, pks: list[int]) -> HttpResponse:
        decide = DECIDE[self.action]
        reason = request.POST.get("reason", "")
        try:
            decision = decide(pks, actor=actor_of(request), reason=reason)
        except Error as error:
            text = gettext("The database refused; nothing was changed. It said: %s")
            messages.error(request, text % error)
        else:
            self._tell(request, decision)
        return HttpResponseRedirect(_back(pks))

    def _tell(self, request: HttpRequest, decision: Decision) -> None:
        if count := len(decision.done):
            messages.success(request, _done(self.action, count))
        for line in _skipped_lines(decision.skipped):
            messages.warning(request, line)
        if not decision.announced:
            text = gettext(
                "Redis does not answer. The operations are marked; the next save "
                "of the player tries them."
            )
            messages.warning(request, text)

    def _confirmation(
        self, request: HttpRequest, pks: list[int], form: DecisionForm
    ) -> HttpResponse:
        seen = preview(pks)
        codes = Counter(row.code for row in seen.rows)
        listed = seen.rows[:MAX_LISTED]
        known = names((row.character_id for row in listed), [])
        context = {
            **self.context(request),
            "title": TITLES[self.action],
            "notice": NOTICES[self.action],
            "button": BUTTONS[self.action],
            "form": form,
            "action_url": self.url(),
            "back_url": _back(pks),
            "pks": [row.pk for row in seen.rows],
            "listed": [
                {
                    "pk": row.pk,
                    "op_id": visible(row.op_id),
                    "scope": row.scope,
                    "player": known.player(row.character_id),
                    "code": row.code,
                    "label": explained(row.code).label,
                    "detail": visible(row.detail),
                    "holds_up": row.pk in seen.holds_up,
                }
                for row in listed
            ],
            "unlisted": max(0, len(seen.rows) - MAX_LISTED),
            "causes": [(explained(code), count) for code, count in codes.most_common()],
            "skipped_lines": _skipped_lines(seen.skipped),
        }
        template = "admin/combat_history/parkedoperation/decide.html"
        return TemplateResponse(request, template, context)


class RetryPage(DecisionPage):
    route = "retry/"
    name = "retry"
    action = Action.RETRY


class DiscardPage(DecisionPage):
    route = "discard/"
    name = "discard"
    action = Action.DISCARD


def may_retry(admin: BoundedAdmin, request: HttpRequest) -> bool:
    return request.user.has_perm(Action.RETRY.permission)


def may_discard(admin: BoundedAdmin, request: HttpRequest) -> bool:
    return request.user.has_perm(Action.DISCARD.permission)


@admin.action(permissions=["retry"], description=_("Retry the selected operations"))
def retry_selected(
    admin: BoundedAdmin, request: HttpRequest, queryset: QuerySet[ParkedOperation]
) -> HttpResponse:
    return RetryPage(admin).show_selected(request, queryset)


@admin.action(permissions=["discard"], description=_("Discard the selected operations"))
def discard_selected(
    admin: BoundedAdmin, request: HttpRequest, queryset: QuerySet[ParkedOperation]
) -> HttpResponse:
    return DiscardPage(admin).show_selected(request, queryset)


def _done(action: Action, count: int) -> str:
    if action is Action.RETRY:
        text = ngettext(
            "%(count)d operation is tried again.",
            "%(count)d operations are tried again.",
            count,
        )
    else:
        text = ngettext(
            "%(count)d operation was discarded.",
            "%(count)d operations were discarded.",
            count,
        )
    return text % {"count": count}


def _pks(query: QueryDict) -> list[int]:
    texts = query.getlist("id")
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise BadRequest("ids are whole numbers")
    pks = [int(text) for text in texts if len(text) < 20]
    if not 1 <= len(pks) <= MAX_OPERATIONS or max(pks) > MAX_BIGINT:
        raise BadRequest(f"1 to {MAX_OPERATIONS} ids are expected")
    return pks


def _skipped_lines(skipped: dict[int, SkipReason]) -> list[str]:
    return [
        ngettext(
            "%(count)d operation is skipped: %(reason)s.",
            "%(count)d operations are skipped: %(reason)s.",
            count,
        )
        % {"count": count, "reason": SKIPPED[reason]}
        for reason, count in Counter(skipped.values()).items()
    ]


def _back(pks: Sequence[int]) -> str:
    if len(pks) == 1:
        return reverse("admin:combat_history_parkedoperation_change", args=[pks[0]])
    return reverse("admin:combat_history_parkedoperation_changelist")
