"""The page that makes a replay batch: of a group of failures, or of the list.

A GET and the list's action only show; `actions.replay_batch` makes it, and checks the
permission again.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest
from django.db import Error, OperationalError
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions import batches
from combat_history.actions.batches import MAX_ITEMS, Caution
from combat_history.actions.dry_run import outlook
from combat_history.actions.replay import MAX_COMBATS, PERMISSION, preview
from combat_history.admin.base import Page, actor_of
from combat_history.admin.forms import SHORTAGES, ReasonForm
from combat_history.admin.rendering import visible
from combat_history.admin.review.failures import (
    cause_of,
    cause_text,
    group_query,
)
from combat_history.insight import explain
from combat_history.insight.failures import Cause, members
from combat_history.models import CombatHistory, Status
from persistence.contract.ids import parse_session_id, short_id

LIST = "admin:combat_history_combathistory_changelist"

MAX_LISTED = 20
"""Combats shown one by one, the oldest; the totals count all."""

PAGING = ("p", "all", "e")
"""Parameters of the list that choose a page of it, and no combats."""


class BatchForm(ReasonForm):
    """`batch_id` is given with the page: sent twice, it makes one batch."""

    canary = forms.IntegerField(
        label=_("Try first"),
        initial=5,
        min_value=0,
        max_value=batches.CHUNK,
        required=False,
        help_text=_("So many are replayed before the others. Empty: all at once."),
    )
    stop_after = forms.IntegerField(
        label=_("Stop after equal failures in a row"),
        initial=3,
        min_value=0,
        max_value=batches.CHUNK,
        required=False,
        help_text=_("For the same cause; the others stay failed. Empty: never."),
    )

    shortages = forms.ChoiceField(
        label=_("Shortages"),
        choices=[("", _("as the setting says")), *SHORTAGES],
        required=False,
    )
    batch_id = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        canary, stop_after = values.get("canary"), values.get("stop_after")
        if canary and not 0 < (stop_after or 0) <= canary:
            text = _("At most as many as are tried first, or the trial stops nothing.")
            self.add_error("stop_after", text)
        return values

    def caution(self) -> Caution:
        """Of a form that may be wrong: then it is not acted on."""
        values = self.cleaned_data
        return Caution(values.get("canary") or 0, values.get("stop_after") or 0)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Combats as a page named them; `selection` is kept with the batch.

    `fields`: what the form repeats.
    """

    rows: QuerySet[CombatHistory]
    selection: Mapping[str, str]
    fields: list[tuple[str, str]]


class BatchPage(Page):
    """Makes a batch of combats that a group, a list or their ids name."""

    route = "replay/batch/"
    name = "replay_batch"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        may_replay = self.may_act(request, PERMISSION)
        if request.method != "POST":
            chosen = self._chosen(request, request.GET)
            return self._confirmation(request, chosen, _new_form())
        form = BatchForm(request.POST)
        is_valid = form.is_valid()
        if "batch_id" in form.errors:
            raise BadRequest("batch_id is no UUID")
        chosen = self._chosen(request, request.POST)
        if not may_replay or is_valid:
            return self._make(request, chosen, form)
        return self._confirmation(request, chosen, form)

    def show_list(self, request: HttpRequest) -> HttpResponse:
        """Ask for a batch of all combats of the list that the request is for."""
        chosen = self._listed(request, request.GET.urlencode())
        return self._confirmation(request, chosen, _new_form())

    def _confirmation(
        self, request: HttpRequest, chosen: Chosen, form: BatchForm
    ) -> HttpResponse:
        failed = chosen.rows.filter(settlement_status=Status.FAILED)
        counted = failed.order_by().values("failure_code").annotate(number=Count("pk"))
        causes = sorted(
            counted.values_list("failure_code", "number"), key=lambda cause: -cause[1]
        )
        total = sum(number for _code, number in causes)
        oldest = failed.order_by("finished_at", "session_id")
        shown = preview(list(oldest.values_list("pk", flat=True)[:MAX_LISTED])).stakes
        context = {
            **self.context(request),
            "title": _("Replay in the background"),
            "form": form,
            "fields": chosen.fields,
            "selection": selection_text(chosen.selection),
            "action_url": self.url(),
            "back_url": selection_url(chosen.selection),
            "total": total,
            "left_out": max(0, total - MAX_ITEMS),
            "limit": MAX_ITEMS,
            "causes": [(explain.failure(code or ""), n) for code, n in causes],
            "listed": [
                {
                    "short_id": short_id(stake.session_id),
                    "stake": stake,
                    "label": explain.failure(stake.failure_code).label,
                }
                for stake in shown
            ],
            "unlisted": max(0, total - len(shown)),
            "outlook": _outlook(oldest),
        }
        template = "admin/combat_history/combathistory/replay_batch.html"
        return TemplateResponse(request, template, context)

    def _make(
        self, request: HttpRequest, chosen: Chosen, form: BatchForm
    ) -> HttpResponse:
        batch_id = form.cleaned_data["batch_id"] or uuid4()
        try:
            total = batches.create(
                chosen.rows,
                chosen.selection,
                batch_id=batch_id,
                actor=actor_of(request),
                reason=request.POST.get("reason", ""),
                shortages=form.cleaned_data.get("shortages") or None,
                caution=form.caution(),
            )
        except Error as error:
            text = gettext("The database refused; nothing was replayed. It said: %s")
            messages.error(request, text % error)
            return HttpResponseRedirect(selection_url(chosen.selection))
        if not total:
            text = gettext(
                "Nothing is replayed: none of these combats has failed, or they wait "
                "in another batch."
            )
            messages.warning(request, text)
            return HttpResponseRedirect(selection_url(chosen.selection))
        text = ngettext(
            "%(count)d combat is replayed in the background.",
            "%(count)d combats are replayed in the background.",
            total,
        )
        messages.success(request, text % {"count": total})
        if not request.user.has_perm("combat_history.view_replaybatch"):
            return HttpResponseRedirect(selection_url(chosen.selection))
        return HttpResponseRedirect(batch_url(batch_id))

    def _chosen(self, request: HttpRequest, query: QueryDict) -> Chosen:
        """Raises BadRequest for what names no combats."""
        if "session_id" in query:
            return _selected(query.getlist("session_id"))
        if "code" in query:
            cause = cause_of(query)
            named = group_query(cause)
            selection = {"kind": "group", **dict(named)}
            return Chosen(members(cause), selection, named)
        if "list" in query:
            return self._listed(request, query.get("list", ""))
        raise BadRequest("a group, a list or combats are expected")

    def _listed(self, request: HttpRequest, text: str) -> Chosen:
        """What the list shows under these parameters, whatever its page."""
        parameters = QueryDict(text, mutable=True)
        for name in PAGING:
            parameters.pop(name, None)
        asked = copy(request)
        asked.GET = QueryDict(parameters.urlencode())
        try:
            rows = self.admin.get_changelist_instance(asked).get_queryset(asked)
        except IncorrectLookupParameters as error:
            raise BadRequest(str(error)) from None
        named = parameters.urlencode()
        return Chosen(rows, {"kind": "list", "list": named}, [("list", named)])


def _outlook(rows: QuerySet[CombatHistory]) -> dict[str, Any] | None:
    """The dry run in words; None where its rows are held by somebody else."""
    is_strict = settings.SETTLEMENT_SHORTAGES == "fail"
    try:
        seen = outlook(rows, fail_on_shortage=is_strict)
    except OperationalError:
        return None
    causes = [(cause_text(Cause(*cause)), number) for cause, number in seen.failures]
    return {
        "seen": seen,
        "failing": seen.combats - seen.settled,
        "causes": causes[:MAX_LISTED],
        "tone": "good" if not causes else "warn" if seen.settled else "bad",
    }


def batch_url(batch_id: UUID) -> str:
    return reverse("admin:combat_history_replaybatch_change", args=[batch_id])


def selection_url(selection: Mapping[str, str]) -> str:
    """Where the combats of a batch were chosen."""
    match selection["kind"]:
        case "group":
            named = {k: v for k, v in selection.items() if k != "kind"}
            page = reverse("admin:combat_history_combathistory_failure_group")
            return f"{page}?{urlencode(named)}"
        case "list":
            return f"{reverse(LIST)}?{selection['list']}"
        case _:
            return reverse(LIST)


def selection_text(selection: Mapping[str, str]) -> str:
    """In words: which combats are replayed."""
    match selection["kind"]:
        case "group":
            return cause_text(Cause(selection["code"], selection.get("subject")))
        case "list":
            query = QueryDict(selection["list"])
            told = ", ".join(f"{k}={v}" for k, v in query.items())
            if not told:
                return gettext("all failed combats")
            return gettext("failed combats of the list: %(filters)s") % {
                "filters": visible(told)
            }
        case _:
            return gettext("combats that were selected one by one")


def _selected(texts: list[str]) -> Chosen:
    try:
        session_ids = [parse_session_id(text) for text in texts]
    except ValueError as error:
        raise BadRequest(str(error)) from None
    if len(session_ids) > MAX_COMBATS:
        raise BadRequest(f"at most {MAX_COMBATS} session ids are expected")
    fields = [("session_id", str(pk)) for pk in session_ids]
    rows = CombatHistory.objects.filter(pk__in=session_ids)
    return Chosen(rows, {"kind": "selected"}, fields)


def _new_form() -> BatchForm:
    return BatchForm(initial={"batch_id": uuid4()})
