"""The page on which a rejected payload is corrected and resubmitted.

A GET and "check" only show; `combat_history.actions.resubmit` acts, and checks the
permission again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from django import forms
from django.contrib import messages
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions.resubmit import (
    PERMISSION,
    TARGET,
    AlreadyHandedOver,
    NotResubmittable,
    check,
    handed_over_before,
    resubmit,
)
from combat_history.admin.base import Page, actor_of
from combat_history.admin.forms import DocumentForm
from combat_history.admin.rendering import bytes_as_text, combat_url
from combat_history.insight import explain
from combat_history.models import AuditEntry, RejectedPayload
from persistence.contract.errors import FailureCode, PayloadInvalid
from persistence.contract.ids import short_id
from persistence.engine.handoff import Receipt

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

TEMPLATE = "admin/combat_history/rejectedpayload/resubmit.html"

RECEIPTS: dict[Receipt, tuple[int, str | _StrPromise]] = {
    Receipt.ACCEPTED: (
        messages.SUCCESS,
        _("The document is accepted: the workers settle it."),
    ),
    Receipt.DUPLICATE: (
        messages.WARNING,
        _("This very document was accepted before."),
    ),
    Receipt.CONFLICT: (
        messages.ERROR,
        _("Another document of this combat was accepted before, and stands."),
    ),
}


class ResubmitForm(DocumentForm):
    again = forms.BooleanField(
        label=_("I know; hand it over a second time."), required=False
    )


def resubmit_url(request: HttpRequest, row: RejectedPayload) -> str | None:
    """Where the button leads; None where this user cannot resubmit."""
    if not request.user.has_perm(PERMISSION):
        return None
    return reverse("admin:combat_history_rejectedpayload_resubmit", args=[row.pk])


class ResubmitPage(Page):
    route = "<int:pk>/resubmit/"
    name = "resubmit"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        pk: int = named["pk"]
        if not self.may_act(request, PERMISSION):
            return self._resubmit(request, pk)
        try:
            row = RejectedPayload.objects.get(pk=pk)
        except (RejectedPayload.DoesNotExist, OverflowError):
            raise Http404 from None
        context = self._context(request, row)
        if request.method == "POST":
            form = ResubmitForm(request.POST)
            sound = _check(pk, form.data.get("document", ""), context)
            is_asked = sound and "resubmit" in request.POST and form.is_valid()
            if is_asked and (form.cleaned_data["again"] or not context["before"]):
                return self._resubmit(request, pk)
        else:
            form = ResubmitForm(initial={"document": _text(row)})
        return TemplateResponse(request, TEMPLATE, {**context, "form": form})

    def _resubmit(self, request: HttpRequest, pk: int) -> HttpResponse:
        refusals = (PayloadInvalid, NotResubmittable, AlreadyHandedOver, ValueError)
        try:
            receipt = resubmit(
                pk,
                request.POST.get("document", ""),
                actor=actor_of(request),
                reason=request.POST.get("reason", ""),
                again="again" in request.POST,
            )
        except redis.RedisError as error:
            told = gettext(
                "It is not known whether Redis took it: %s. Hand over the same "
                "document once more."
            )
            messages.error(request, told % error)
        except (Error, *refusals, RejectedPayload.DoesNotExist) as error:
            messages.error(request, gettext("Nothing was changed: %s") % error)
        else:
            level, words = RECEIPTS[receipt]
            messages.add_message(request, level, str(words))
        return HttpResponseRedirect(_page_of(pk))

    def _context(self, request: HttpRequest, row: RejectedPayload) -> dict[str, Any]:
        is_conflict = row.code == FailureCode.PAYLOAD_CONFLICT
        known = AuditEntry.objects.filter(target_type=TARGET, target_id=str(row.pk))
        return {
            **self.context(request),
            "title": _("Correct and resubmit"),
            "short_id": f"#{row.pk}",
            "back_url": _page_of(row.pk),
            "cause": explain.failure(row.code),
            "errors": row.errors,
            "bytes": bytes_as_text(bytes(row.raw)) if row.raw is not None else None,
            "conflict_url": _history_of(row) if is_conflict else None,
            "earlier": known.filter(verb="resubmit").order_by("-id")[:10],
        }


def _check(pk: int, text: str, context: dict[str, Any]) -> bool:
    """Whether it could be resubmitted; what keeps it from that goes onto the page."""
    try:
        handoff = check(text)
    except PayloadInvalid as error:
        context["faults"] = error.errors
    except NotResubmittable as error:
        context["faults"] = [{"path": "session_id", "message": str(error)}]
    else:
        context["sound"] = short_id(handoff.session_id)
        context["before"] = [
            {"row": row, "short_id": short_id(row.handed_over_as)}
            for row in handed_over_before(pk, handoff)
            if row.handed_over_as is not None
        ]
        return True
    return False


def _text(row: RejectedPayload) -> str:
    """What can be put right by hand; bytes that are no text cannot."""
    if row.raw is None:
        return ""
    try:
        return bytes(row.raw).decode()
    except UnicodeDecodeError:
        return ""


def _page_of(pk: int) -> str:
    return reverse("admin:combat_history_rejectedpayload_change", args=[pk])


def _history_of(row: RejectedPayload) -> str | None:
    if row.session_id is None:
        return None
    return combat_url(row.session_id)
