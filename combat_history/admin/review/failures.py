"""The page of failed settlements: by cause and age, and what the team says of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from combat_history.actions.replay import PERMISSION as REPLAY_PERMISSION
from combat_history.actions.triage import MAX_TARGETS
from combat_history.actions.triage import PERMISSION as TRIAGE_PERMISSION
from combat_history.admin.base import Page
from combat_history.admin.naming import names
from combat_history.admin.rendering import EMPTY
from combat_history.admin.review.triage import NOTED, TriageForm, TriagePage, shown
from combat_history.insight import explain
from combat_history.insight.failures import (
    MAX_LOOKED_AT,
    Group,
    failures,
    member_ids,
    members,
)
from combat_history.models import CombatHistory, Triage
from persistence.contract.ids import parse_session_id, short_id

MAX_MEMBERS = 100
"""Combats of one group that its page shows."""

MAX_GROUP_NAME = 200
"""As long as the audit's target."""

AGES = (
    _("less than an hour"),
    _("less than a day"),
    _("less than a week"),
    _("older than a week"),
)

FAILURES = "admin:combat_history_combathistory_failures"
BATCH = "admin:combat_history_combathistory_replay_batch"

Bounds = tuple[str, datetime | None, datetime | None]
"""Cause and times of a group, as its address names it."""


class FailuresPage(Page):
    """All groups of failures, by cause and age."""

    route = "failures/"
    name = "failures"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        self.require_view(request)
        seen = failures()
        snoozed = [group for group in seen.groups if group.is_snoozed]
        context = {
            **self.context(request),
            **_failure_context(request),
            "title": _("Failed settlements"),
            "groups": [
                _group_context(group) for group in seen.groups if not group.is_snoozed
            ],
            "snoozed": [_group_context(group) for group in snoozed],
            "snoozed_count": sum(group.stakes.combats for group in snoozed),
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
        return self.show(request, bounds_of(request.GET), TriageForm())

    def show(
        self, request: HttpRequest, bounds: Bounds, form: TriageForm
    ) -> HttpResponse:
        code, since, before = bounds
        rows = members(*bounds).only("session_id", "received_at", "participant_ids")
        found = list(rows[: MAX_MEMBERS + 1])
        cause = explain.failure(code)
        context = {
            **self.context(request),
            **_failure_context(request),
            "title": cause.label,
            "cause": cause,
            "rows": _members(found[:MAX_MEMBERS]),
            "is_cut": len(found) > MAX_MEMBERS,
            "list_url": _list_url(code, since, before),
            "code": code,
            "since": since.isoformat() if since else "",
            "before": before.isoformat() if before else "",
            "replay_url": f"{reverse(BATCH)}?{urlencode(group_query(*bounds))}",
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
        ids = member_ids(*bounds_of(request.POST), limit=MAX_TARGETS)
        return [str(session_id) for session_id in ids]

    def group(self, request: HttpRequest) -> str:
        if "whole_group" not in request.POST:
            return ""
        named = group_query(*bounds_of(request.POST))
        return urlencode(named)[:MAX_GROUP_NAME]

    def target(self, text: str) -> str:
        return str(parse_session_id(text))

    def ask(
        self, request: HttpRequest, targets: Sequence[str], form: TriageForm
    ) -> HttpResponse:
        """The group's page again: what was not understood there is said there."""
        if "code" in request.POST:
            group = FailureGroupPage(self.admin)
            return group.show(request, bounds_of(request.POST), form)
        return super().ask(request, targets, form)

    def back_url(self) -> str:
        return reverse(FAILURES)


def _failure_context(request: HttpRequest) -> dict[str, Any]:
    return {
        "back_url": reverse(FAILURES),
        "may_replay": request.user.has_perm(REPLAY_PERMISSION),
        "action_url": reverse("admin:combat_history_combathistory_triage"),
    }


def _group_context(group: Group) -> dict[str, Any]:
    named = urlencode(group_query(group.code, group.since, group.before))
    url = reverse("admin:combat_history_combathistory_failure_group")
    return {
        "code": group.code,
        "cause": explain.failure(group.code),
        "age": AGES[group.age],
        "stakes": group.stakes,
        "list_url": _list_url(group.code, group.since, group.before),
        "group_url": f"{url}?{named}",
        "replay_url": f"{reverse(BATCH)}?{named}",
    }


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


def group_query(
    code: str, since: datetime | None, before: datetime | None
) -> list[tuple[str, str]]:
    """A group as its address names it; `bounds_of` reads it again."""
    times = {"since": since, "before": before}
    named = [(name, time.isoformat()) for name, time in times.items() if time]
    return [("code", code), *named]


def _list_url(code: str, since: datetime | None, before: datetime | None) -> str:
    times = {"received_at__gte": since, "received_at__lt": before}
    named = {name: time.isoformat() for name, time in times.items() if time}
    url = reverse("admin:combat_history_combathistory_changelist")
    return f"{url}?{urlencode({'failure': code, **named})}"


def bounds_of(query: QueryDict) -> Bounds:
    code = query.get("code", "")
    if not code or "\0" in code:
        raise BadRequest("a cause is expected")
    return code, time_of(query.get("since", "")), time_of(query.get("before", ""))


def time_of(text: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    return time if timezone.is_aware(time) else timezone.make_aware(time)
