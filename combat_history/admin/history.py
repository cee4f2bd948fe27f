"""The history: lists, one combat's dossier, and the door to the replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.fields.json import KeyTransform
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from combat_history import explain
from combat_history.admin import dossier
from combat_history.admin.base import Column, ReadOnlyAdmin, column
from combat_history.admin.rendering import (
    badge,
    cut,
    failure_label,
    preformatted,
    visible,
)
from combat_history.admin.replay_views import ReplayViews
from combat_history.models import CombatHistory, CombatParticipant, Status
from combat_history.paginator import MAX_ROWS
from persistence.errors import FailureCode
from persistence.ids import short_id

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString


class StatusFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "status"

    def lookups(
        self, request: HttpRequest, model_admin: Any
    ) -> list[tuple[str, str | _StrPromise]]:
        return list(Status.choices)

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[CombatHistory]
    ) -> QuerySet[CombatHistory]:
        status = self.value()
        return queryset.filter(settlement_status=status) if status else queryset


class FailureFilter(admin.SimpleListFilter):
    """Failed combats of one code: by the index of failed rows, at any table size."""

    title = _("failure")
    parameter_name = "failure"

    def lookups(
        self, request: HttpRequest, model_admin: Any
    ) -> list[tuple[str, str | _StrPromise]]:
        return [(str(code), explain.failure(code).label) for code in FailureCode]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[CombatHistory]
    ) -> QuerySet[CombatHistory]:
        code = self.value()
        if not code:
            return queryset
        return queryset.filter(settlement_status=Status.FAILED, failure_code=code)


class FinishedFilter(admin.DateFieldListFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = _("finished")


@admin.display(description=_("combat"))
def combat(row: CombatHistory) -> SafeString:
    return format_html('<span class="combat-id">{}</span>', short_id(row.session_id))


@admin.display(description=_("status"))
def status(row: CombatHistory) -> SafeString:
    return badge(row.settlement_status)


@admin.display(description=_("failure"))
def failure(row: CombatHistory) -> str:
    return failure_label(row.failure_code)


def _meta(row: Any) -> dict[str, Any]:
    """`meta` of a document that may be malformed, as annotated by `get_queryset`."""
    meta = row.document_meta
    return meta if isinstance(meta, dict) else {}


def _finish_reason(row: CombatHistory) -> str | _StrPromise | None:
    reason = _meta(row).get("finish_reason")
    return explain.FINISH_REASONS.get(reason) if isinstance(reason, str) else None


def _winner(row: CombatHistory) -> str | None:
    winner = _meta(row).get("winner_team")
    return visible(winner[:200]) if isinstance(winner, str) else None


def _players(row: CombatHistory) -> int:
    return len(row.participant_ids)


def _player_ids(row: CombatHistory) -> str | None:
    return ", ".join(map(str, row.participant_ids)) or None


def _explained(row: CombatHistory) -> SafeString:
    known = explain.failure(row.failure_code or "")
    return format_html(
        "<strong>{}</strong> (<code>{}</code>)<br>{}<br>{}",
        known.label,
        row.failure_code,
        known.meaning,
        known.remedy,
    )


def _detail(row: CombatHistory) -> SafeString | None:
    if not row.failure_detail:
        return None
    return preformatted(cut(visible(row.failure_detail)))


def _traceback(row: CombatHistory) -> SafeString | None:
    if not row.failure_traceback:
        return None
    return format_html(
        "<details><summary>{}</summary>{}</details>",
        _("Show"),
        preformatted(cut(visible(row.failure_traceback))),
    )


WINNER = column(_("winner"), _winner, name="winner")
FINISH_REASON = column(_("end"), _finish_reason, name="finish_reason")
FINISHED_AT = column(_("finished"), "finished_at")

FACTS: list[Column] = [
    column(_("session id"), "session_id"),
    column(_("short id"), lambda row: short_id(row.session_id), name="short_id"),
    status,
    FINISHED_AT,
    FINISH_REASON,
    WINNER,
    column(_("players"), _player_ids, name="player_ids"),
    column(_("received"), "received_at"),
    column(_("settled"), "settled_at"),
    column(_("tries that never ended"), "attempts"),
]

FAILURE: list[Column] = [
    column(_("reason"), _explained, name="reason"),
    column(_("detail"), _detail, name="detail"),
    column(_("traceback"), _traceback, name="traceback"),
]


class CombatHistoryAdmin(ReplayViews, ReadOnlyAdmin):
    """Read-only; the one thing that can be done to a combat here is its replay."""

    list_display = (
        combat,
        FINISHED_AT,
        status,
        FINISH_REASON,
        WINNER,
        column(_("players"), _players, name="players"),
        failure,
    )
    list_filter = (StatusFilter, FailureFilter, ("finished_at", FinishedFilter))
    # By index, whatever is filtered.
    ordering = ("-finished_at", "-session_id")
    search_fields = ("session_id",)
    search_help_text = _(
        "A session id (UUID, 32 hex digits or 22 characters), or a character id for "
        "its latest combats."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        meta = KeyTransform("meta", "result_payload")
        rows: QuerySet[Any] = super().get_queryset(request).annotate(document_meta=meta)
        return rows

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.only(
            "session_id",
            "finished_at",
            "settlement_status",
            "participant_ids",
            "failure_code",
        )

    def of_character(self, queryset: QuerySet[Any], character_id: int) -> QuerySet[Any]:
        latest = CombatParticipant.objects.filter(character_id=character_id).order_by(
            "-finished_at", "-session_id"
        )
        return queryset.filter(pk__in=latest.values("session_id")[:MAX_ROWS])

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        shown: list[tuple[Any, Any]] = [(None, {"fields": FACTS})]
        if obj is not None and obj.failure_code:
            shown.append((_("Failure"), {"fields": FAILURE}))
        return shown

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*FACTS, *FAILURE]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        context = {**(extra_context or {})}
        if row is not None and self.has_view_permission(request, row):
            context |= dossier.of(row)
            context["replay_url"] = self._replay_url(request, row)
        return super().change_view(request, object_id, form_url, context)

    def _replay_url(self, request: HttpRequest, row: CombatHistory) -> str | None:
        if row.settlement_status != Status.FAILED:
            return None
        if not self.has_replay_permission(request):
            return None
        url = reverse("admin:combat_history_combathistory_replay")
        return f"{url}?{urlencode({'session_id': row.session_id})}"
