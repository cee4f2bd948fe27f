"""The replay batches: their list, and the page of one with what came of each combat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import BadRequest
from django.db import Error
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions.batches import (
    ALLOWED,
    EQUAL_FAILURES,
    NOT_PERMITTED,
    Verb,
    decide,
)
from combat_history.actions.replay import PERMISSION
from combat_history.admin.base import Page, ReadOnlyAdmin, actor_of, audit_of, column
from combat_history.admin.batches.making import batch_url, selection_text, selection_url
from combat_history.admin.forms import ReasonForm
from combat_history.admin.rendering import EMPTY, visible
from combat_history.admin.review.failures import cause_text, group_url
from combat_history.admin.timeline import POLICIES, shown_duration
from combat_history.insight import batch_progress, explain
from combat_history.insight.batch_progress import Result, Told
from combat_history.insight.failures import Cause
from combat_history.models import ReplayBatch
from persistence.contract.ids import short_id

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

PAGE_ROWS = 50
RENEW_SECONDS = 3
MAX_WHY = 300
MAX_KEY = 2**63 - 1

RESULTS = {
    Result.REPLAYED: _("replayed"),
    Result.FAILED: _("failed"),
    Result.SKIPPED: _("skipped"),
    Result.UNDER_WAY: _("under way"),
    Result.WAITING: _("waiting"),
}
OVER = (Result.REPLAYED, Result.FAILED, Result.SKIPPED)

VERBS = {
    Verb.PAUSE: _("Pause"),
    Verb.RESUME: _("Resume"),
    Verb.CANCEL: _("Cancel the batch"),
}
DONE = {
    Verb.PAUSE: _("The batch is paused; what is queued by now is replayed still."),
    Verb.RESUME: _("The batch goes on."),
    Verb.CANCEL: _("The batch is cancelled; what is queued by now is replayed still."),
}
REASONS: dict[str, str | _StrPromise] = {
    **explain.NOT_REPLAYED,
    ReplayBatch.State.CANCELLED: _("the batch was cancelled"),
    ReplayBatch.State.STOPPED: _("the batch was stopped"),
    "superseded": _("replayed again by somebody else"),
    "voided": _("voided"),
}

STOPPED = {NOT_PERMITTED: _("whoever began it may not replay any more")}

BADGES = {
    ReplayBatch.State.RUNNING: "pending",
    ReplayBatch.State.PAUSED: "pending",
    ReplayBatch.State.FINISHED: "processed",
    ReplayBatch.State.CANCELLED: "voided",
    ReplayBatch.State.STOPPED: "failed",
}


@admin.display(description=_("batch"))
def batch(row: ReplayBatch) -> SafeString:
    return format_html('<span class="combat-id">{}</span>', short_id(row.pk))


@admin.display(description=_("state"))
def state(row: ReplayBatch) -> SafeString:
    known = ReplayBatch.State(row.state)
    css = BADGES[known]
    return format_html(
        '<span class="combat-badge combat-{}">{}</span>', css, known.label
    )


def _selection(row: ReplayBatch) -> str:
    return selection_text(row.selection)


class ProgressPage(Page):
    """Numbers and results alone, for the script that renews them."""

    route = "<uuid:batch_id>/progress/"
    name = "progress"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        self.require_view(request)
        row = ReplayBatch.objects.filter(pk=named["batch_id"]).first()
        if row is None:
            raise Http404
        template = "admin/combat_history/includes/batch_progress.html"
        return TemplateResponse(request, template, _results(request, row))


class DecidePage(Page):
    """Takes the POST of pause, resume and cancel; there is nothing to look at."""

    route = "<uuid:batch_id>/decide/"
    name = "decide"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        batch_id: UUID = named["batch_id"]
        may_decide = self.may_act(request, PERMISSION, viewers_look=True)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            verb = Verb(request.POST.get("verb", ""))
        except ValueError:
            raise BadRequest("pause, resume or cancel") from None
        form = ReasonForm(request.POST)
        if not may_decide or form.is_valid():
            return self._decide(request, batch_id, verb)
        text = gettext("Nothing was changed: %s")
        for error in form.errors.get("reason", []):
            messages.error(request, text % error)
        return HttpResponseRedirect(batch_url(batch_id))

    def _decide(self, request: HttpRequest, batch_id: UUID, verb: Verb) -> HttpResponse:
        reason = request.POST.get("reason", "")
        try:
            is_done = decide(batch_id, verb, actor=actor_of(request), reason=reason)
        except ReplayBatch.DoesNotExist:
            raise Http404 from None
        except Error as error:
            text = gettext("Nothing was changed: %s")
            messages.error(request, text % error)
        else:
            if is_done:
                messages.success(request, str(DONE[verb]))
            else:
                text = gettext("Nothing was changed: the batch is in another state.")
                messages.warning(request, text)
        return HttpResponseRedirect(batch_url(batch_id))


class ReplayBatchAdmin(ReadOnlyAdmin):
    """Read-only but for pause, resume and cancel."""

    pages = (ProgressPage, DecidePage)
    list_display = (
        batch,
        "created_at",
        "actor_name",
        column(_("combats chosen"), _selection, name="selection"),
        state,
        "total",
        "finished_at",
    )
    ordering = ("-created_at",)
    change_form_template = "admin/combat_history/replaybatch/change_form.html"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return []

    def name_of(self, obj: Any) -> str:
        return short_id(obj.pk)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        return audit_of(object_id)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        may_decide = request.user.has_perm(PERMISSION)
        verbs = [
            (str(verb), label)
            for verb, label in VERBS.items()
            if row.state in ALLOWED[verb]
        ]
        url = reverse("admin:combat_history_replaybatch_progress", args=[row.pk])
        return {
            "selection": selection_text(row.selection),
            "selection_url": selection_url(row.selection),
            "who": visible(row.actor_name),
            "why": visible(row.reason),
            "policy": POLICIES.get(row.shortages or ""),
            "verbs": verbs if may_decide else [],
            "reason_form": ReasonForm(),
            "decide_url": reverse(
                "admin:combat_history_replaybatch_decide", args=[row.pk]
            ),
            "renew_url": f"{url}?{request.GET.urlencode()}",
            "renew_seconds": RENEW_SECONDS,
            **_results(request, row),
        }


def _detail(row: ReplayBatch) -> SafeString | str:
    """Why a batch was stopped, in words where it is known."""
    head, _separator, rest = row.detail.partition(": ")
    if head != EQUAL_FAILURES:
        return str(STOPPED.get(row.detail) or visible(row.detail))
    code, _separator, subject = rest.partition(": ")
    cause = Cause(code, subject)
    text = ngettext(
        "%(count)d failure in a row for the same cause:",
        "%(count)d failures in a row for the same cause:",
        row.stop_after,
    )
    told = text % {"count": row.stop_after}
    return format_html(
        '{} <a href="{}">{}</a>', told, group_url(cause), cause_text(cause)
    )


def _pace(row: ReplayBatch, counts: Mapping[Result, int]) -> tuple[str, str] | None:
    pace = batch_progress.pace(row, counts)
    if pace is None:
        return None
    return f"{pace.per_minute:.0f}", shown_duration(pace.left)


def _results(request: HttpRequest, row: ReplayBatch) -> dict[str, Any]:
    """Numbers by result, and one page of the combats of the one that is asked for."""
    asked = request.GET.get("result", "")
    result = Result(asked) if asked in set(Result) else None
    told = batch_progress.results(row, result, _after(request), PAGE_ROWS + 1)
    counts = batch_progress.counts(row)
    return {
        "batch": row,
        "badge": state(row),
        "detail": _detail(row),
        "pace": _pace(row, counts),
        "done": sum(counts[over] for over in OVER),
        "numbers": [
            (
                RESULTS[kind],
                counts[kind],
                f"?{urlencode({'result': kind})}",
                kind is result,
            )
            for kind in Result
        ],
        "is_filtered": result is not None,
        "rows": [_row(one) for one in told[:PAGE_ROWS]],
        "next_url": _next_url(result, told),
    }


def _next_url(result: Result | None, told: Sequence[Told]) -> str | None:
    if len(told) <= PAGE_ROWS:
        return None
    asked = {"result": result} if result is not None else {}
    return f"?{urlencode({**asked, 'after': told[PAGE_ROWS - 1].key})}"


def _after(request: HttpRequest) -> int:
    text = request.GET.get("after", "")
    is_key = text.isascii() and text.isdigit() and len(text) < 20
    return min(int(text), MAX_KEY) if is_key else 0


def _row(told: Told) -> dict[str, Any]:
    return {
        "session_id": told.session_id,
        "short_id": short_id(told.session_id),
        "result": RESULTS[told.result],
        "why": _why(told),
    }


def _why(told: Told) -> SafeString:
    if not told.why:
        return format_html("{}", EMPTY)
    if told.result is Result.SKIPPED:
        return format_html("{}", REASONS.get(told.why, told.why))
    code, _separator, detail = told.why.partition(": ")
    label = REASONS.get(code) or explain.failure(code).label
    shown = format_html('<span title="{}">{}</span>', visible(code), label)
    return format_html("{}: {}", shown, visible(detail[:MAX_WHY])) if detail else shown
