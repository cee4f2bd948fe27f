"""The dashboard in words and charts: on the first page, and as the part that renews."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import redis
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from combat_history.admin import svg
from combat_history.admin.base import Page
from combat_history.admin.rendering import visible
from combat_history.admin.settlement import worklist
from combat_history.admin.timeline import shown_duration
from combat_history.insight import dashboard as figures
from combat_history.insight import explain
from combat_history.insight.dashboard import Latency, Snapshot, Span
from combat_history.reading import redis_clients
from persistence.worker import counts, presence
from persistence.worker.heartbeat import MAX_AGE_SECONDS

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from django.utils.safestring import SafeString

PERMISSION = "combat_history.view_combathistory"

SPANS = {Span.HOUR: _("hour"), Span.DAY: _("day"), Span.WEEK: _("week")}

RENEW_SECONDS = {Span.HOUR: 5, Span.DAY: 20, Span.WEEK: 60}
"""The longer the span, the less a moment changes and the more there is to read."""

SOURCES = {
    "tombstone": _("tombstone in Redis"),
    "redis": _("live session in Redis"),
    "postgresql": _("PostgreSQL"),
    "unknown": _("unknown"),
    "cannot_say": _("could not be asked"),
}

EFFECTS = {"applied": _("applied"), "not_confirmed": _("not confirmed by Redis")}

SWEPT = {
    "pending_returned": _("waiting combats put back"),
    "results_handed_off": _("unsent results handed over"),
    "results_missing": _("results reported missing"),
    "combats_abandoned": _("abandoned fights ended"),
    "accounts_closing": _("accounts found closing"),
    "accounts_freed": _("accounts freed"),
    "intents_sent": _("overdue saves sent"),
    "belts_released": _("belts released"),
    "replays_asked": _("retries asked for again"),
    "undone_told": _("undone combats that players still read as credited"),
    "tombstones_untrue": _("untrue tombstones removed"),
}
"""By the cases of the sweep."""

KINDS = {"worker": _("worker"), "beat": _("beat")}

LINKS = (
    ("combathistory", "combathistory_failures", _("Failed settlements")),
    ("economyday", "combathistory_economy", _("Economy")),
    (
        "settlementdiscrepancy",
        "settlementdiscrepancy_changelist",
        _("Discrepancies"),
    ),
    (
        "rejectedpayload",
        "rejectedpayload_changelist",
        _("Rejected and conflicting documents"),
    ),
    ("parkedoperation", "parkedoperation_changelist", _("Parked operations")),
    (
        "settlementcontrol",
        "settlementcontrol_changelist",
        _("Pause and resume settlement"),
    ),
)
"""The model that a user has to be allowed to view, the page, and its name."""

PLAIN, GOOD, WARN, BAD = "plain", "good", "warn", "bad"

TONES = {
    "combat.processed": GOOD,
    "combat.failed": BAD,
    "combat.rejected": BAD,
    "combat.conflict": WARN,
    "effects.applied": GOOD,
    "effects.not_confirmed": BAD,
    "sweep.results_missing": BAD,
    "sweep.combats_abandoned": WARN,
    "lookup.unknown": WARN,
}
"""What the colour of a count means; of all others it means nothing."""

SLOW, STUCK, OVERDUE = (5, 30), (60, 300), (30, 120)
"""Seconds of p95, oldest pending and inbox from which they are to be looked at, and
from which they are bad: the second are those of the alerts."""

CSS = ("combat-line-1", "combat-line-2", "combat-line-3")
CSS_OF_REFUSED = ("combat-line-1", "combat-line-warn", "combat-line-bad")


@dataclass(frozen=True, slots=True)
class Chart:
    """`keys`: class and name of each line, where there are several."""

    title: str | _StrPromise
    drawing: SafeString
    keys: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Share:
    """One line of a table: `percent` of the largest, for the width of its bar."""

    label: str | _StrPromise
    number: int
    percent: int
    tone: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A table of counts of one thing, which `unit` names."""

    title: str | _StrPromise
    unit: str | _StrPromise
    shares: list[Share]
    url: str = ""


class DashboardPage(Page):
    """The figures alone, for the script that renews them."""

    route = "dashboard/"
    name = "dashboard"

    def __call__(self, request: HttpRequest, **named: Any) -> HttpResponse:
        if not is_allowed(request):
            raise PermissionDenied(PERMISSION)
        template = "admin/combat_history/includes/figures.html"
        return TemplateResponse(request, template, context(request))


def is_allowed(request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)


def context(request: HttpRequest) -> dict[str, Any]:
    asked = request.GET.get("range", "")
    span = Span(asked) if asked in set(Span) else Span.HOUR
    seen = figures.read(span)
    counted = seen.counted or {}
    return {
        **worklist.context(request),
        "renew_seconds": RENEW_SECONDS[span],
        "spans": [(s.value, label, s is span) for s, label in SPANS.items()],
        "renew_url": f"{reverse('admin:combat_history_combathistory_dashboard')}"
        f"?range={span}",
        "links": list(_links(request)),
        "read_at": timezone.now(),
        "facts": list(_facts(seen, counted)),
        "charts": list(_charts(seen, counted)),
        "blocks": list(_blocks(seen, counted)),
        "heartbeats": list(_heartbeats()),
        "processes": [
            (visible(process), minute) for process, minute in seen.processes or []
        ],
        "is_incomplete": None in (seen.settled, seen.counted, seen.failures),
    }


def _links(request: HttpRequest) -> Iterator[tuple[str, str | _StrPromise]]:
    """Where what waits for a person is, and how settlement is paused."""
    for model, page, label in LINKS:
        if request.user.has_perm(f"combat_history.view_{model}"):
            yield reverse(f"admin:combat_history_{page}"), label


def _facts(
    seen: Snapshot, counted: Mapping[str, list[int]]
) -> list[tuple[str | _StrPromise, str, str]]:
    """Label, value, and what its colour says."""
    minutes = seen.span.step.total_seconds() / 60
    settled = seen.settled
    latency = seen.latency_of_all
    inbox = seen.inbox
    oldest = seen.oldest_pending
    waited = timezone.now() - oldest if oldest else None
    return [
        (_("settled"), _number(sum(settled) if settled is not None else None), PLAIN),
        (_("settled per minute, now"), svg.short(_now(settled, minutes)), PLAIN),
        (
            _("latency p50 / p95 / p99"),
            _latency(latency),
            _tone(latency.p95 if latency else None, *SLOW),
        ),
        (_("pending"), _number(seen.pending), PLAIN),
        (
            _("oldest pending"),
            shown_duration(waited) if waited else "—",
            _tone(waited.total_seconds() if waited else None, *STUCK),
        ),
        (_("in the inbox"), _number(inbox.entries if inbox else None), PLAIN),
        (
            _("inbox overdue"),
            gettext("%(count).0f s") % {"count": inbox.overdue} if inbox else "—",
            _tone(inbox.overdue if inbox else None, *OVERDUE),
        ),
        (_("duplicates"), _number(figures.total(counted, "combat.duplicate")), PLAIN),
        (_("conflicts"), _number(figures.total(counted, "combat.conflict")), PLAIN),
    ]


def _tone(seconds: float | None, warn: float, bad: float) -> str:
    if seconds is None:
        return PLAIN
    return BAD if seconds > bad else WARN if seconds > warn else GOOD


def _now(settled: Sequence[int] | None, minutes: float) -> float:
    """The rate of the last whole interval: the one that runs is not full yet."""
    return settled[-2] / minutes if settled else 0.0


def _number(number: int | None) -> str:
    if number is None:
        return "—"
    return f"{figures.MAX_ROWS}+" if number == figures.MAX_ROWS else str(number)


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return "—"
    return " / ".join(
        _seconds(value) for value in (latency.p50, latency.p95, latency.p99)
    )


def _seconds(value: float) -> str:
    if value < 1:
        return gettext("%(count).0f ms") % {"count": value * 1000}
    return gettext("%(count).1f s") % {"count": value}


def _charts(seen: Snapshot, counted: Mapping[str, list[int]]) -> list[Chart]:
    minutes = seen.span.step.total_seconds() / 60
    charts = []
    if seen.settled is not None:
        settled = [number / minutes for number in seen.settled]
        charts.append(_chart(seen, "settled", _("Settled per minute"), {"": settled}))
    if seen.latency is not None:
        lines = {
            name: [
                None if at is None else 1000 * getattr(at, name) for at in seen.latency
            ]
            for name in ("p50", "p95", "p99")
        }
        charts.append(_chart(seen, "latency", _("Latency, ms"), lines))
    if seen.counted is not None:
        nothing = [0] * seen.span.intervals
        refused = {
            gettext("duplicates"): counted.get("combat.duplicate", nothing),
            gettext("conflicts"): counted.get("combat.conflict", nothing),
            gettext("failed"): counted.get("combat.failed", nothing),
        }
        per_minute = {
            name: [number / minutes for number in numbers]
            for name, numbers in refused.items()
        }
        title = _("Not settled, attempts per minute")
        charts.append(_chart(seen, "refused", title, per_minute, CSS_OF_REFUSED))
    return charts


def _chart(
    seen: Snapshot,
    key: str,
    title: str | _StrPromise,
    lines: Mapping[str, Sequence[float | None]],
    classes: Sequence[str] = CSS,
) -> Chart:
    styled = list(zip(classes, lines.items(), strict=False))
    drawn = [
        svg.Line(name, css, run)
        for css, (name, values) in styled
        for run in _runs(values)
    ]
    highest = max((y for line in drawn for _x, y in line.points), default=0.0)
    drawing = svg.line_chart(
        drawn,
        key=f"figures-{key}",
        title=str(title),
        description=gettext("%(title)s of the last %(span)s; at most %(highest)s.")
        % {"title": title, "span": SPANS[seen.span], "highest": svg.short(highest)},
        axis=(_time(seen, seen.start), gettext("now")),
        x_range=(0.0, float(seen.span.intervals - 1)),
    )
    keys = [(css, name) for css, (name, _values) in styled if name]
    return Chart(title, drawing, keys)


def _runs(values: Sequence[float | None]) -> list[list[svg.Point]]:
    """Without lines across what is not known."""
    runs: list[list[svg.Point]] = [[]]
    for n, value in enumerate(values):
        if value is not None:
            runs[-1].append((float(n), value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _time(seen: Snapshot, at: datetime) -> str:
    shown = "H:i" if seen.span is Span.HOUR else "m-d H:i"
    return date_format(localtime(at), shown)


def _blocks(seen: Snapshot, counted: Mapping[str, list[int]]) -> Iterator[Block]:
    yield Block(
        _("Failures by cause"),
        _("combats that are failed now"),
        _failures(seen),
        reverse("admin:combat_history_combathistory_failures"),
    )
    for title, unit, prefix, words in (
        (
            _("Outcomes"),
            _("attempts; a combat that is replayed counts again"),
            counts.COMBAT,
            explain.OUTCOMES,
        ),
        (_("Look-ups by source"), _("look-ups"), counts.LOOKUP, SOURCES),
        (
            _("Effects"),
            _("attempts whose result went to Redis"),
            counts.EFFECTS,
            EFFECTS,
        ),
        (_("Sweep"), _("things that were lost or stuck"), counts.SWEEP, SWEPT),
    ):
        yield Block(title, unit, _shares(counted, prefix, words))


def _failures(seen: Snapshot) -> list[Share]:
    url = reverse("admin:combat_history_combathistory_changelist")
    numbers = seen.failures or {}
    highest = max(numbers.values(), default=1)
    return [
        Share(
            explain.failure(code).label,
            number,
            100 * number // highest,
            BAD,
            f"{url}?failure={code}",
        )
        for code, number in numbers.items()
    ]


def _shares(
    counted: Mapping[str, list[int]],
    prefix: str,
    words: Mapping[str, str | _StrPromise],
) -> list[Share]:
    """Totals of the counts of one family, in words where there are; largest first."""
    totals = {
        name: sum(numbers)
        for name, numbers in sorted(counted.items())
        if name.startswith(prefix)
    }
    highest = max(totals.values(), default=0) or 1
    return [
        Share(
            words.get(rest) or visible(rest),
            number,
            100 * number // highest,
            TONES.get(name, PLAIN),
        )
        for name, number in sorted(totals.items(), key=lambda pair: -pair[1])
        if (rest := name.removeprefix(prefix))
    ]


def _heartbeats() -> list[tuple[str | _StrPromise, str, str, bool]]:
    """Kind, host and process, when it was last heard, whether that is too long ago."""
    try:
        ages = presence.read(redis_clients.client())
    except redis.RedisError:
        return []
    return [
        (label, visible(process), _seconds(age), age > MAX_AGE_SECONDS)
        for kind, label in KINDS.items()
        for process, age in ages[kind].items()
    ]
