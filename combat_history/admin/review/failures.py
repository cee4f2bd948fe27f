"""Failed settlements by cause and subject, and what the team says of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from combat_history.actions.replay import PERMISSION as REPLAY_PERMISSION
from combat_history.actions.triage import MAX_TARGETS
from combat_history.actions.triage import PERMISSION as TRIAGE_PERMISSION
from combat_history.admin import catalogue
from combat_history.admin.base import Page
from combat_history.admin.naming import names
from combat_history.admin.rendering import EMPTY, visible
from combat_history.admin.review.triage import NOTED, TriageForm, TriagePage, shown
from combat_history.insight import explain
from combat_history.insight.failures import (
    MAX_LOOKED_AT,
    Cause,
    Group,
    failures,
    member_ids,
    members,
)
from combat_history.models import CombatHistory, Triage
from persistence.contract.ids import parse_session_id, short_id

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

MAX_MEMBERS = 100
"""Combats of one group that its page shows at a time."""

FAILURES = "admin:combat_history_combathistory_failures"
BATCH = "admin:combat_history_combathistory_replay_batch"


class FailuresPage(Page):
    """All groups of failures, by cause and subject."""

    route = "failures/"
    name = "failures"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        self.require_view(request)
        seen = failures()
        told = [group_context(group, request.user) for group in seen.groups]
        snoozed = [group for group in told if group["is_snoozed"]]
        context = {
            **self.context(request),
            **_failure_context(request),
            "title": _("Failed settlements"),
            "groups": [group for group in told if not group["is_snoozed"]],
            "snoozed": snoozed,
            "snoozed_count": sum(group["stakes"].combats for group in snoozed),
            "more_groups": seen.more_groups,
            "is_cut": seen.is_cut,
            "limit": MAX_LOOKED_AT,
        }
        template = "admin/combat_history/combathistory/failures.html"
        return TemplateResponse(request, template, context)


class FailureGroupPage(Page):
    """The combats of one group, and a form to say something of them."""

    route = "failures/group/"
    name = "failure_group"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        self.require_view(request)
        return self.show(request, cause_of(request.GET), TriageForm())

    def show(
        self, request: HttpRequest, cause: Cause, form: TriageForm
    ) -> HttpResponse:
        rows = members(cause).only("session_id", "received_at", "participant_ids")
        page = min(_number(request.GET.get("p", "")), MAX_TARGETS // MAX_MEMBERS - 1)
        first = page * MAX_MEMBERS
        found = list(rows[first : first + MAX_MEMBERS])
        total = rows[: MAX_TARGETS + 1].count()
        context = {
            **self.context(request),
            **_failure_context(request),
            "title": cause_text(cause),
            "cause": explain.failure(cause.code),
            "remedies": catalogue.remedies(cause, request.user, group_url(cause)),
            "rows": _members(found),
            "total": min(total, MAX_TARGETS),
            "is_cut": total > MAX_TARGETS,
            "pages": _pages(cause, page, min(total, MAX_TARGETS)),
            "list_url": _list_url(cause.code),
            "named": group_query(cause),
            "replay_url": f"{reverse(BATCH)}?{urlencode(group_query(cause))}",
            "may_triage": request.user.has_perm(TRIAGE_PERMISSION),
            "form": form,
        }
        template = "admin/combat_history/combathistory/failure_group.html"
        return TemplateResponse(request, template, context)


class CombatTriagePage(TriagePage):
    """Takes what was said of some combats of a group, or of the whole group."""

    def targets(self, request: HttpRequest) -> list[str]:
        if "whole_group" not in request.POST:
            return super().targets(request)
        ids = member_ids(cause_of(request.POST), limit=MAX_TARGETS)
        return [str(session_id) for session_id in ids]

    def target(self, text: str) -> str:
        return str(parse_session_id(text))

    def ask(
        self, request: HttpRequest, targets: Sequence[str], form: TriageForm
    ) -> HttpResponse:
        """The group's page again: what was not understood there is said there."""
        if "code" in request.POST:
            group = FailureGroupPage(self.admin)
            return group.show(request, cause_of(request.POST), form)
        return super().ask(request, targets, form)

    def back_url(self, request: HttpRequest) -> str:
        return reverse(FAILURES)


def _failure_context(request: HttpRequest) -> dict[str, Any]:
    return {
        "back_url": reverse(FAILURES),
        "may_replay": request.user.has_perm(REPLAY_PERMISSION),
        "action_url": reverse("admin:combat_history_combathistory_triage"),
    }


def group_context(group: Group, user: User | AnonymousUser) -> dict[str, Any]:
    """A group with its remedy, as its row and its card tell it."""
    cause = group.cause
    named = urlencode(group_query(cause))
    return {
        "code": cause.code,
        "title": cause_text(cause),
        "cause": explain.failure(cause.code),
        "is_snoozed": cause.is_snoozed,
        "stakes": group.stakes,
        "remedies": catalogue.remedies(cause, user, group_url(cause)),
        "group_url": group_url(cause),
        "replay_url": f"{reverse(BATCH)}?{named}",
    }


def cause_text(cause: Cause) -> str:
    """The cause and its subject in words."""
    label = capfirst(str(explain.failure(cause.code).label))
    return f"{label}: {visible(cause.subject)}" if cause.subject else label


def group_url(cause: Cause) -> str:
    page = reverse("admin:combat_history_combathistory_failure_group")
    return f"{page}?{urlencode(group_query(cause))}"


def _pages(cause: Cause, page: int, total: int) -> list[tuple[int, str, bool]]:
    """Number and address of each, and whether it is this one; none of a single one."""
    if total <= MAX_MEMBERS:
        return []
    numbers = range(-(-total // MAX_MEMBERS))
    return [(n + 1, f"{group_url(cause)}&p={n}", n == page) for n in numbers]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _members(rows: list[CombatHistory]) -> list[dict[str, Any]]:
    said = Triage.objects.filter(
        kind=Triage.Kind.COMBAT, target_id__in=[str(row.pk) for row in rows]
    )
    by_id = {row["target_id"]: row for row in said.values("target_id", *NOTED)}
    known = names(chain.from_iterable(row.participant_ids for row in rows), [])
    return [
        {
            "session_id": row.pk,
            "short_id": short_id(row.pk),
            "received_at": row.received_at,
            "players": known.players(row.participant_ids),
            "triage": shown(by_id[str(row.pk)]) if str(row.pk) in by_id else EMPTY,
        }
        for row in rows
    ]


def group_query(cause: Cause) -> list[tuple[str, str]]:
    """A group as its address names it; `cause_of` reads it again."""
    named = [("code", cause.code)]
    if cause.subject is not None:
        named.append(("subject", cause.subject))
    return [*named, ("snoozed", "1")] if cause.is_snoozed else named


def _list_url(code: str) -> str:
    url = reverse("admin:combat_history_combathistory_changelist")
    return f"{url}?{urlencode({'failure': code})}"


def cause_of(query: QueryDict) -> Cause:
    code, subject = query.get("code", ""), query.get("subject")
    if not code or "\0" in code or "\0" in (subject or ""):
        raise BadRequest("a cause is expected")
    return Cause(code, subject, query.get("snoozed") == "1")
