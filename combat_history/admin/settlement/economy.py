"""The economy in words and charts: what is given and taken, by day and by source."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.admin import svg
from combat_history.admin.base import Page
from combat_history.admin.naming import Names, names
from combat_history.admin.rendering import visible
from combat_history.admin.review.failures import group_context
from combat_history.insight import economy, explain
from combat_history.insight.economy import Anomaly, Day, Moved, Thing
from combat_history.insight.failures import failures
from combat_history.models import EconomyDay
from persistence.contract.errors import FailureCode

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

PERMISSION = "combat_history.view_economyday"
PARAMETER = "of"
MAX_FAILURES = 1_000

Kind = EconomyDay.Kind
GOLD = Thing(Kind.GOLD, "")

SOURCES: dict[str, str | _StrPromise] = {
    "fight": _("fights"),
    "operation": _("operations of the game"),
    "inventory": _("inventories, also corrected by admins"),
    "undo": _("undone by admins"),
}


class ThingRow(NamedTuple):
    label: str
    url: str
    moved: Moved


class DayRow(NamedTuple):
    """`total`: the net of this and all days before it that are told."""

    day: Day
    total: Decimal


class EconomyPage(Page):
    """One thing by day and source; beside it what else moved, and what is unusual."""

    route = "economy/"
    name = "economy"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        self.require_view(request)
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied(PERMISSION)
        thing = _asked(request)
        days, anomalies = economy.series(thing), economy.anomalies()
        things, earners = economy.things(), economy.earners()
        known = _names(thing, things, anomalies, earners)
        totals = accumulate(day.net for day in days)
        context = {
            **self.context(request),
            "title": _("Economy"),
            "label": _label(thing, known),
            "chart": _chart(days, _label(thing, known)),
            "days": [DayRow(*row) for row in zip(days, totals, strict=True)][::-1],
            "sources": [
                (_source(moved.name), moved) for moved in economy.sources(thing)
            ],
            "things": [_thing(moved, known) for moved in things],
            "anomalies": [
                (_label(found.thing, known), _url(found.thing), found)
                for found in anomalies
            ],
            "earners": [(known.player(who.character_id), who) for who in earners],
            "held": _held(request.user),
            "progress": economy.progress(),
        }
        template = "admin/combat_history/economy.html"
        return TemplateResponse(request, template, context)


def _asked(request: HttpRequest) -> Thing:
    """What the address names; gold where it names nothing that there may be."""
    kind, _separator, subject = request.GET.get(PARAMETER, "").partition(":")
    return Thing(kind, subject[:200]) if kind in set(Kind) else GOLD


def _url(thing: Thing) -> str:
    return f"?{urlencode({PARAMETER: f'{thing.kind}:{thing.subject}'})}"


def _names(
    thing: Thing,
    things: Iterable[Moved],
    anomalies: Iterable[Anomaly],
    earners: Iterable[economy.Earner],
) -> Names:
    told = [thing, *(Thing(m.name, m.subject) for m in things)]
    told += [found.thing for found in anomalies]
    return names(
        [who.character_id for who in earners],
        [t.subject for t in told if t.kind == Kind.ITEM],
        [t.subject for t in told if t.kind == Kind.BALANCE],
    )


def _label(thing: Thing, known: Names) -> str:
    match thing.kind:
        case Kind.ITEM:
            return known.item(thing.subject)
        case Kind.BALANCE:
            return known.balance(thing.subject)
        case _:
            return capfirst(str(Kind(thing.kind).label))


def _thing(moved: Moved, known: Names) -> ThingRow:
    thing = Thing(moved.name, moved.subject)
    return ThingRow(_label(thing, known), _url(thing), moved)


def _source(source: str) -> str:
    """A fight by how it ended; another line by its kind."""
    if reason := explain.FINISH_REASONS.get(source):
        return gettext("fights: %(end)s") % {"end": reason}
    return str(SOURCES.get(source) or visible(source))


def _chart(days: list[Day], label: str) -> SafeString:
    lines = [
        svg.Line(
            gettext("given"),
            "combat-line-1",
            [(n, float(day.minted)) for n, day in enumerate(days)],
        ),
        svg.Line(
            gettext("taken"),
            "combat-line-warn",
            [(n, float(day.sunk)) for n, day in enumerate(days)],
        ),
    ]
    description = gettext("%(given)s given and %(taken)s taken in %(days)d days.") % {
        "given": sum(day.minted for day in days),
        "taken": sum(day.sunk for day in days),
        "days": len(days),
    }
    ends = (date_format(days[0].day, "d.m"), date_format(days[-1].day, "d.m"))
    return svg.line_chart(
        lines,
        key="economy",
        title=label,
        description=description,
        axis=ends,
        x_range=(0, len(days) - 1),
    )


def _held(user: User | AnonymousUser) -> list[dict[str, Any]]:
    """What review rules withhold, by rule, awake or asleep."""
    return [
        group_context(group, user)
        for group in failures(MAX_FAILURES).groups
        if group.cause.code == FailureCode.HELD_FOR_REVIEW
    ]
