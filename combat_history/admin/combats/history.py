"""The history: the list, and one combat's page as a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.fields.json import KeyTransform
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.actions import correct, void
from combat_history.admin.base import (
    BoundedChangeList,
    Page,
    ReadOnlyAdmin,
    audit_of,
    column,
)
from combat_history.admin.batches.making import BatchPage
from combat_history.admin.combats import dossier
from combat_history.admin.combats.correct import CorrectPage
from combat_history.admin.combats.fight_log import FightLogPage
from combat_history.admin.combats.filters import (
    REASON_WINDOW,
    FailureFilter,
    FinishedFilter,
    OlderFilter,
    ReasonFilter,
    StatusFilter,
    position,
)
from combat_history.admin.combats.operations import operation_url
from combat_history.admin.combats.preview import PreviewPage
from combat_history.admin.combats.replay import (
    ReplayPage,
    may_replay,
    replay_selected,
    replay_url,
)
from combat_history.admin.combats.undo import UndoPage, undo_url
from combat_history.admin.combats.void import VoidPage
from combat_history.admin.export import ExportPage
from combat_history.admin.paginator import MAX_ROWS
from combat_history.admin.rendering import badges, failure_label, visible
from combat_history.admin.review.failures import (
    CombatTriagePage,
    FailureGroupPage,
    FailuresPage,
)
from combat_history.admin.search import SearchPage
from combat_history.admin.settlement.dashboard import DashboardPage
from combat_history.admin.settlement.economy import EconomyPage
from combat_history.insight import explain
from combat_history.models import CombatHistory, CombatReplay, Operation, Status
from combat_history.reading.outcomes import winner_of
from persistence.contract.ids import short_id
from persistence.contract.meta import FinishReason

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString


@admin.display(description=_("combat"))
def combat(row: CombatHistory) -> SafeString:
    return format_html('<span class="combat-id">{}</span>', short_id(row.session_id))


@admin.display(description=_("status"))
def status(row: CombatHistory) -> SafeString:
    return badges(row)


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
    winner = winner_of(_meta(row).get("winner_team"))
    return None if winner is None else visible(winner[:200])


def _players(row: CombatHistory) -> int:
    return len(row.participant_ids)


WINNER = column(_("winner"), _winner, name="winner")
FINISH_REASON = column(_("end"), _finish_reason, name="finish_reason")

LATEST_OF_EACH = """
SELECT fight.session_id
FROM unnest(%s::bigint[]) AS player (id)
CROSS JOIN LATERAL (
    SELECT session_id FROM combat_participants
    WHERE character_id = player.id
    ORDER BY finished_at DESC, session_id DESC
    LIMIT %s
) AS fight
"""

NEWEST_FIRST: list[str | Combinable] = ["-finished_at", "-session_id"]

ORDERINGS: dict[str, list[str | Combinable]] = {
    Status.FAILED: ["-received_at", "-session_id"],
    Status.PENDING: ["due_at", "session_id"],
}
"""Where few rows of a large table are asked for, the order of their own index: the
list's usual order could read the whole table for them."""


LISTED = (
    "session_id",
    "finished_at",
    "settlement_status",
    "compensated_at",
    "participant_ids",
    "failure_code",
)
"""Columns that the list reads."""


RECEIVED_BOUNDS = ("received_at__gte", "received_at__lt")
"""What a group of failures is listed by; see `review.failures`."""


class HistoryChangeList(BoundedChangeList):
    """`position_below`: of the last combat that was looked at, if there may be more."""

    position_below: str | None = None

    def get_ordering(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> list[str | Combinable]:
        if request.GET.get(FailureFilter.parameter_name):
            return ORDERINGS[Status.FAILED]
        status = request.GET.get(StatusFilter.parameter_name, "")
        return ORDERINGS.get(status, NEWEST_FIRST)

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        reason = request.GET.get(ReasonFilter.parameter_name)
        if reason not in set(FinishReason):
            return rows
        ordering = self.get_ordering(request, rows)
        if ordering == NEWEST_FIRST:
            self._note_position(rows[REASON_WINDOW - 1 : REASON_WINDOW])
        found = self.root_queryset.filter(
            pk__in=rows.values("pk")[:REASON_WINDOW],
            result_payload__meta__finish_reason=reason,
        )
        return found.order_by(*ordering).only(*LISTED)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        is_by_reason = ReasonFilter.parameter_name in request.GET
        is_newest_first = self.get_ordering(request, self.queryset) == NEWEST_FIRST
        if self.multi_page and is_newest_first and not is_by_reason:
            self._note_position(list(self.result_list)[-1:])

    def _note_position(self, rows: Iterable[CombatHistory]) -> None:
        for row in rows:
            self.position_below = position(row.finished_at, row.session_id)

    @property
    def older_url(self) -> str | None:
        if self.position_below is None:
            return None
        below = {OlderFilter.parameter_name: self.position_below}
        return self.get_query_string(below)


class StatusPage(Page):
    """The status alone, for the script that renews the page of a combat that waits."""

    route = "<uuid:session_id>/status/"
    name = "status"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        self.require_view(request)
        combat = CombatHistory.objects.filter(pk=named["session_id"])
        status = combat.values_list("settlement_status", flat=True).first()
        if status is None:
            raise Http404
        return HttpResponse(status, content_type="text/plain")


def decisions(request: HttpRequest, row: CombatHistory) -> list[tuple[str, str]]:
    """Pages on which this user may decide about the combat, as (address, label).

    What its state asks for comes first.
    """
    may = request.user.has_perm
    is_failed = row.settlement_status == Status.FAILED
    waits = is_failed or row.settlement_status == Status.PENDING
    offered = [
        (_page("preview", row) if waits else None, gettext("Preview")),
        (replay_url(request, row), gettext("Replay")),
        (
            _page("correct", row) if is_failed and may(correct.PERMISSION) else None,
            gettext("Correct"),
        ),
        (
            _page("void", row) if waits and may(void.PERMISSION) else None,
            gettext("Void"),
        ),
        (_fight_log_url(row), gettext("Watch the fight")),
        (undo_url(request, row), gettext("Undo")),
    ]
    return [(url, label) for url, label in offered if url is not None]


def _page(name: str, row: CombatHistory) -> str:
    return reverse(f"admin:combat_history_combathistory_{name}", args=[row.pk])


def _fight_log_url(row: CombatHistory) -> str | None:
    has_log = CombatReplay.objects.filter(pk=row.pk).exists()
    return _page("fight_log", row) if has_log else None


class CombatHistoryAdmin(ReadOnlyAdmin):
    """Read-only; what can be done to a combat is done on a page of its own."""

    pages = (
        DashboardPage,
        ExportPage,
        EconomyPage,
        FailuresPage,
        FailureGroupPage,
        CombatTriagePage,
        ReplayPage,
        BatchPage,
        StatusPage,
        FightLogPage,
        PreviewPage,
        CorrectPage,
        VoidPage,
        UndoPage,
        SearchPage,
    )
    actions = (replay_selected,)
    has_replay_permission = may_replay
    change_list_template = "admin/combat_history/combathistory/list_with_failures.html"

    list_display = (
        combat,
        column(_("finished"), "finished_at"),
        status,
        failure,
        FINISH_REASON,
        WINNER,
        column(_("players"), _players, name="players"),
    )
    list_filter = (
        StatusFilter,
        FailureFilter,
        ReasonFilter,
        ("finished_at", FinishedFilter),
        OlderFilter,
    )
    # By index, whatever is filtered.
    ordering = tuple(NEWEST_FIRST)
    search_fields = ("session_id",)
    search_help_text = _(
        "A session id (UUID, 32 hex digits or 22 characters); or a character id, or "
        "the beginning of a character's name, for their latest combats."
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return HistoryChangeList

    def lookup_allowed(
        self, lookup: str, value: str, request: HttpRequest | None = None
    ) -> bool:
        """Times of receipt are of failures, whose index alone has them."""
        if lookup in RECEIVED_BOUNDS:
            return request is not None and FailureFilter.parameter_name in request.GET
        return super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        meta = KeyTransform("meta", "result_payload")
        rows: QuerySet[Any] = super().get_queryset(request).annotate(document_meta=meta)
        return rows

    def narrow(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.only(*LISTED)

    def of_characters(
        self, queryset: QuerySet[Any], character_ids: Sequence[int]
    ) -> QuerySet[Any]:
        if not character_ids:
            return queryset.none()
        limit = MAX_ROWS // len(character_ids)
        latest = RawSQL(LATEST_OF_EACH, [list(character_ids), limit])  # noqa: S611
        return queryset.filter(pk__in=latest)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return []

    def name_of(self, obj: Any) -> str:
        return short_id(obj.pk)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        by_reason = ReasonFilter.parameter_name in request.GET
        window = {"reason_window": REASON_WINDOW if by_reason else None}
        return super().changelist_view(request, {**(extra_context or {}), **window})

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        offered = decisions(request, row)
        return {
            **dossier.context(row, request.user),
            "first_decision": offered[0] if offered else None,
            "decisions": offered[1:],
        }

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        """The ledger and its rows name an operation of the game as they do a combat."""
        try:
            found = Operation.objects.get(id=object_id)
        except (Operation.DoesNotExist, ValidationError):
            # The stubs lack it.
            return super()._get_obj_does_not_exist_redirect(  # type: ignore[misc, no-any-return]
                request, opts, object_id
            )
        return HttpResponseRedirect(operation_url(found.op_id))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        return audit_of(object_id)
