"""The replay's pages: choose, confirm with a reason, read what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

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

from combat_history.actions.replay import (
    MAX_COMBATS,
    PERMISSION,
    ReplayResult,
    SkipReason,
    preview,
    replay,
)
from combat_history.admin.base import BoundedAdmin, Page, actor_of
from combat_history.admin.batches.making import BatchPage
from combat_history.admin.forms import reason_field
from combat_history.admin.naming import names
from combat_history.admin.rendering import combat_url
from combat_history.insight import explain
from combat_history.models import CombatHistory, Status
from persistence.contract.ids import parse_session_id, short_id

MAX_LISTED = 20
"""Combats shown one by one before a replay; the totals count all."""


class ReplayForm(forms.Form):
    reason = reason_field(
        _(
            "What was fixed, and why these combats may run again. It stays in the "
            "history of every combat."
        )
    )


def replay_url(request: HttpRequest, row: CombatHistory) -> str | None:
    """Where the button leads; None where this user cannot replay the combat."""
    if row.settlement_status != Status.FAILED or not request.user.has_perm(PERMISSION):
        return None
    url = reverse("admin:combat_history_combathistory_replay")
    return f"{url}?{urlencode({'session_id': row.session_id})}"


class ReplayPage(Page):
    """Asks for a reason to replay, of one combat or many.

    A GET and the list's action only show; `actions.replay` does, and checks the
    permission again.
    """

    route = "replay/"
    name = "replay"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        may_replay = self.may_act(request, PERMISSION)
        if request.method != "POST":
            return self._confirmation(request, _session_ids(request.GET), ReplayForm())
        session_ids = _session_ids(request.POST)
        form = ReplayForm(request.POST)
        if not may_replay or form.is_valid():
            return self._replay(request, session_ids)
        return self._confirmation(request, session_ids, form)

    def show_selected(
        self, request: HttpRequest, queryset: QuerySet[CombatHistory]
    ) -> HttpResponse:
        """Show what would be replayed: failed ones first, oldest first.

        More of the whole list than one replay takes are a batch.
        """
        failed = _pks(queryset.filter(settlement_status=Status.FAILED))
        if len(failed) > MAX_COMBATS and request.POST.get("select_across") == "1":
            return BatchPage(self.admin).show_list(request)
        others = _pks(queryset.exclude(settlement_status=Status.FAILED))
        selected = [*failed, *others]
        if len(selected) > MAX_COMBATS:
            text = gettext(
                "At most %(count)d combats are replayed at a time; the others stay "
                "as they are. Repeat the action for them."
            )
            messages.warning(request, text % {"count": MAX_COMBATS})
        return self._confirmation(request, selected[:MAX_COMBATS], ReplayForm())

    def _replay(self, request: HttpRequest, session_ids: list[UUID]) -> HttpResponse:
        reason = request.POST.get("reason", "")
        try:
            result = replay(session_ids, actor=actor_of(request), reason=reason)
        except Error as error:
            text = gettext("The database refused; nothing was replayed. It said: %s")
            messages.error(request, text % error)
        else:
            self._tell(request, result)
        return HttpResponseRedirect(_back(session_ids))

    def _tell(self, request: HttpRequest, result: ReplayResult) -> None:
        count = len(result.replayed)
        if count:
            text = ngettext(
                "%(count)d combat was put back into the queue.",
                "%(count)d combats were put back into the queue.",
                count,
            )
            messages.success(request, text % {"count": count})
        for line in _skipped_lines(result.skipped):
            messages.warning(request, line)
        if not result.announced:
            text = gettext(
                "Redis does not answer. The combats are marked; the sweep puts "
                "them into the queue as soon as it can."
            )
            messages.warning(request, text)

    def _confirmation(
        self, request: HttpRequest, session_ids: list[UUID], form: ReplayForm
    ) -> HttpResponse:
        seen = preview(session_ids)
        codes = Counter(stake.failure_code for stake in seen.stakes)
        listed = seen.stakes[:MAX_LISTED]
        known = names(chain.from_iterable(s.participant_ids for s in listed), [])
        context = {
            **self.context(request),
            "title": _("Replay failed combats"),
            "form": form,
            "action_url": self.url(),
            "batch_url": BatchPage(self.admin).url(),
            "back_url": _back(session_ids),
            "session_ids": [stake.session_id for stake in seen.stakes],
            "listed": [
                {
                    "short_id": short_id(stake.session_id),
                    "stake": stake,
                    "label": explain.failure(stake.failure_code).label,
                    "players": known.players(stake.participant_ids),
                }
                for stake in listed
            ],
            "unlisted": max(0, len(seen.stakes) - MAX_LISTED),
            "xp": sum(stake.xp for stake in seen.stakes),
            "gold": sum(stake.gold for stake in seen.stakes),
            "causes": [
                (explain.failure(code), count) for code, count in codes.most_common()
            ],
            "skipped_lines": _skipped_lines(seen.skipped),
        }
        return TemplateResponse(
            request, "admin/combat_history/combathistory/replay.html", context
        )


def may_replay(admin: BoundedAdmin, request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)


@admin.action(permissions=["replay"], description=_("Replay the selected combats"))
def replay_selected(
    admin: BoundedAdmin, request: HttpRequest, queryset: QuerySet[CombatHistory]
) -> HttpResponse:
    return ReplayPage(admin).show_selected(request, queryset)


def _pks(queryset: QuerySet[CombatHistory]) -> list[UUID]:
    oldest = queryset.order_by("finished_at", "session_id")
    return list(oldest.values_list("session_id", flat=True)[: MAX_COMBATS + 1])


def _session_ids(query: QueryDict) -> list[UUID]:
    try:
        session_ids = [parse_session_id(text) for text in query.getlist("session_id")]
    except ValueError as error:
        raise BadRequest(str(error)) from None
    if not 1 <= len(session_ids) <= MAX_COMBATS:
        raise BadRequest(f"1 to {MAX_COMBATS} session ids are expected")
    return session_ids


def _skipped_lines(skipped: dict[UUID, SkipReason]) -> list[str]:
    return [
        ngettext(
            "%(count)d combat is skipped: %(reason)s.",
            "%(count)d combats are skipped: %(reason)s.",
            count,
        )
        % {"count": count, "reason": explain.NOT_REPLAYED[reason]}
        for reason, count in Counter(skipped.values()).items()
    ]


def _back(session_ids: Sequence[Any]) -> str:
    if len(session_ids) == 1:
        return combat_url(session_ids[0])
    return reverse("admin:combat_history_combathistory_changelist")
