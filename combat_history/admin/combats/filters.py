"""What narrows the history: each filter by an index, or within a bounded window."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import localize
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.admin.rendering import UNDONE
from combat_history.insight import explain
from combat_history.models import CombatHistory, Status
from persistence.contract.errors import FailureCode
from persistence.contract.ids import parse_session_id, short_id
from persistence.contract.meta import FinishReason

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

Choices = list[tuple[str, "str | _StrPromise"]]
Rows = QuerySet[CombatHistory]

UNDONE_ONLY = "undone"
"""Not a status of the table: a processed combat whose effects were undone."""

REASON_WINDOW = 5_000
"""Combats whose documents are read for a finish reason, which has no index."""


class StatusFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [*Status.choices, (UNDONE_ONLY, UNDONE)]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        match self.value():
            case None:
                return queryset
            case "undone":
                return queryset.filter(compensated_at__isnull=False)
            case status if status in Status.values:
                return queryset.filter(settlement_status=status)
            case _:
                return queryset.none()


class FailureFilter(admin.SimpleListFilter):
    """Failed combats of one code: by the index of failed rows, at any table size."""

    title = _("failure")
    parameter_name = "failure"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(str(code), explain.failure(code).label) for code in FailureCode]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        code = self.value()
        if not code:
            return queryset
        if code not in set(FailureCode):
            return queryset.none()
        return queryset.filter(settlement_status=Status.FAILED, failure_code=code)


class ReasonFilter(admin.SimpleListFilter):
    """How fights ended. The list applies it, to the newest REASON_WINDOW combats that
    the other filters leave: the reason stands only in the document."""

    title = _("end")
    parameter_name = "end"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(str(end), explain.FINISH_REASONS[end]) for end in FinishReason]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        is_known = self.value() is None or self.value() in set(FinishReason)
        return queryset if is_known else queryset.none()


class OlderFilter(admin.SimpleListFilter):
    """Combats below one in the list's order: a page costs the same wherever it lies.

    Shown only where it is in force; "older" below the list sets it.
    """

    title = _("age")
    parameter_name = "older"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        token = request.GET.get(self.parameter_name)
        if not token:
            return []
        finished_at, _session_id = read_position(token)
        shown = localize(localtime(finished_at))
        return [(token, gettext("older than %(time)s") % {"time": shown})]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        token = self.value()
        if not token:
            return queryset
        finished_at, session_id = read_position(token)
        # The first condition is the index's; a bare OR would read from the newest.
        return queryset.filter(
            Q(finished_at__lt=finished_at) | Q(session_id__lt=session_id),
            finished_at__lte=finished_at,
        )


class FinishedFilter(admin.DateFieldListFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = _("finished")
        # Whole minutes: the link then recognises itself while it is fresh.
        now = timezone.now().replace(second=0, microsecond=0)
        an_hour_ago = now - timedelta(hours=1)
        since: dict[str, bool | date | datetime] = {
            self.lookup_kwarg_since: an_hour_ago
        }
        self.links = (self.links[0], (_("Past hour"), since), *self.links[1:])


def position(finished_at: datetime, session_id: UUID) -> str:
    """Where a combat stands in the list, as an address holds it."""
    return f"{finished_at.isoformat()}~{short_id(session_id)}"


def read_position(token: str) -> tuple[datetime, UUID]:
    """Raises IncorrectLookupParameters, which the list answers by leaving it out."""
    time, _separator, session = token.partition("~")
    try:
        finished_at = datetime.fromisoformat(time)
        session_id = parse_session_id(session)
        if finished_at.tzinfo is None:
            raise ValueError("a position has a time zone")
        # At either end of time some zones have no such moment.
        return localtime(finished_at), session_id
    except (ValueError, OverflowError) as error:
        raise IncorrectLookupParameters(str(error)) from error
