"""The first page: figures of rows and counts, in their intervals, for who may see."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from combat_history.admin.settlement import dashboard as dashboard_pages
from combat_history.insight import dashboard
from combat_history.insight.dashboard import Span, read
from combat_history.models import (
    AuditEntry,
    CombatHistory,
    MinuteCount,
    ParkedOperation,
    RejectedPayload,
    SettlementDiscrepancy,
    Status,
    Triage,
)
from combat_history.templatetags.combat_dashboard import BY_USE
from persistence.contract import redis_keys
from persistence.savers.cleanup_saver import CASES
from persistence.worker import presence
from tests.support.admin import (
    add_combat,
    add_failed,
    body,
    count_queries,
    logged_in,
    one_of_each,
)
from tests.support.pages import text_of
from tests.support.ports import free_port

INDEX = "/admin/"
FIGURES = "/admin/combat_history/combathistory/dashboard/"
SCRIPT = "<script>alert('x')</script>"


def add_settled(
    ago: timedelta, waited: timedelta = timedelta(milliseconds=5), **over: Any
) -> None:
    settled_at = datetime.now(UTC) - ago
    add_combat(
        settlement_status=Status.PROCESSED,
        settled_at=settled_at,
        received_at=settled_at - waited,
        **over,
    )


def add_count(name: str, number: int, ago: timedelta, process: str = "w:1") -> None:
    minute = datetime.now(UTC).replace(second=0, microsecond=0) - ago
    MinuteCount.objects.create(minute=minute, name=name, process=process, count=number)


def test_what_was_settled_is_counted_in_its_minute(db: None) -> None:
    for minutes in (0, 0, 10, 59):
        add_settled(timedelta(minutes=minutes))
    add_settled(timedelta(minutes=61))
    seen = read(Span.HOUR)
    assert seen.settled is not None
    assert len(seen.settled) == 60
    # A minute may have begun since the rows were written.
    assert sum(seen.settled[-2:]) == 2
    assert sum(seen.settled[-12:-10]) == 1
    assert sum(seen.settled) in (3, 4)  # the hour's first minute has begun, or not yet


@pytest.mark.parametrize("span", [Span.DAY, Span.WEEK])
def test_longer_spans_add_up_what_every_process_counted(db: None, span: Span) -> None:
    step = span.step
    add_count("combat.processed", 7, timedelta(0))
    add_count("combat.processed", 5, timedelta(0), "w:2")
    add_count("combat.processed", 2, step * 3)
    add_count("combat.processed", 99, step * (span.intervals + 1))
    seen = read(span)
    assert seen.settled is not None
    assert len(seen.settled) == span.intervals
    assert seen.settled[-1] == 12
    assert seen.settled[-4] == 2
    assert sum(seen.settled) == 14


def test_latency_is_of_the_interval_and_of_the_span(db: None) -> None:
    for milliseconds in (10, 20, 1000):
        add_settled(timedelta(minutes=5), timedelta(milliseconds=milliseconds))
    seen = read(Span.HOUR)
    assert seen.latency is not None
    (told,) = [latency for latency in seen.latency if latency is not None]
    assert seen.latency[-6] == told == seen.latency_of_all
    assert told.p50 == pytest.approx(0.02)
    assert told.p50 < told.p95 < told.p99 <= 1


def test_latency_of_a_busy_interval_is_sampled(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "SAMPLE", 3)
    # The middle of one minute, so that all fall into the same interval.
    ago = timedelta(minutes=5, seconds=datetime.now(UTC).second - 30)
    for _ in range(10):
        add_settled(ago)
    add_settled(ago, timedelta(hours=1))
    latency = read(Span.HOUR).latency_of_all
    assert latency is not None
    assert latency.p99 < 1


def test_latency_leaves_out_replays_and_what_a_pause_held_back(
    transactional_db: None,
) -> None:
    ago = timedelta(minutes=3)
    add_settled(ago, timedelta(seconds=2))
    add_settled(ago, timedelta(hours=3), failed_at=timezone.now() - timedelta(hours=2))
    AuditEntry.objects.create(
        at=timezone.now() - timedelta(minutes=5),
        verb="resume",
        target_type="settlement",
        target_id="settlement",
        outcome="done",
    )
    add_settled(ago, timedelta(minutes=30))

    seen = read(Span.HOUR)

    assert seen.latency_of_all is not None
    assert seen.latency_of_all.p99 == pytest.approx(2)
    assert seen.settled is not None
    assert sum(seen.settled) == 3


def test_latency_goes_by_the_index_of_its_time(db: None) -> None:
    add_settled(timedelta(minutes=5))
    asked: dict[str, Any] = {"start": timezone.now(), "step": Span.DAY.step}
    asked |= {"intervals": 96, "sample": 200}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {dashboard.LATENCY}", asked)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "combat_history_settled_at" in plan


def test_backlog_tells_its_oldest(client: Client, redis_client: redis.Redis) -> None:
    now = datetime.now(UTC)
    add_combat(received_at=now - timedelta(minutes=30))
    add_combat(received_at=now - timedelta(minutes=3))
    due = (now - timedelta(seconds=90)).timestamp() * 1000
    redis_client.zadd(redis_keys.INBOX, {"a": due, "b": due + 60_000})
    text = text_of(body(client, INDEX))
    told = r"pending 2 oldest pending 30 min in the inbox 2 inbox overdue 9\d s"
    assert re.search(told, text)


def test_failures_link_to_their_combats(client: Client) -> None:
    now = datetime.now(UTC)
    for code in ("poison", "poison", SCRIPT):
        add_failed(code, received_at=now - timedelta(minutes=5))
    add_failed("shortage", received_at=now - timedelta(hours=2))
    page = body(client, INDEX)
    assert 'href="/admin/combat_history/combathistory/?failure=poison"' in page
    text = text_of(page)
    assert "kills its worker 2" in text
    assert "shortage" not in text
    assert "shortage 1" in text_of(body(client, INDEX, {"range": "day"}))
    assert SCRIPT not in page


def test_what_waits_for_a_person_is_one_click_away(
    client: Client, viewer: User
) -> None:
    base = "/admin/combat_history/"
    pages = ["combathistory/failures", "settlementdiscrepancy", "rejectedpayload"]
    pages += ["parkedoperation", "settlementcontrol"]
    page = body(client, INDEX)
    for name in pages:
        assert f'<a href="{base}{name}/">' in page
    heading = f'<h3><a href="{base}combathistory/failures/">Failures by cause</a></h3>'
    assert heading in page
    viewer.user_permissions.remove(
        Permission.objects.get(codename="view_settlementcontrol")
    )
    assert f"{base}settlementcontrol/" not in body(logged_in(viewer), INDEX)


def blocks(client: Client) -> dict[str, tuple[str, dict[str, tuple[int, str]]]]:
    """By heading: its unit, and number and tone of each line."""
    shown = client.get(INDEX).context["blocks"]
    return {
        str(block.title): (
            str(block.unit),
            {str(s.label): (s.number, s.tone) for s in block.shares},
        )
        for block in shown
    }


def test_each_block_counts_one_thing_and_names_it(client: Client) -> None:
    add_failed("poison", received_at=datetime.now(UTC) - timedelta(minutes=5))
    numbers = {"processed": 9, "failed": 7, "duplicate": 2, "conflict": 1}
    for outcome, number in numbers.items():
        add_count(f"combat.{outcome}", number, timedelta(minutes=2))
    for name in ("effects.applied", "effects.not_confirmed", "sweep.results_missing"):
        add_count(name, 4, timedelta(minutes=2))
    add_count("lookup.tombstone", 3, timedelta(minutes=2))

    told = blocks(client)

    unit, failures = told["Failures by cause"]
    assert unit == "combats that are failed now"
    assert failures == {"kills its worker": (1, "bad")}
    unit, outcomes = told["Outcomes"]
    assert unit == "attempts; a combat that is replayed counts again"
    assert outcomes == {
        "settled": (9, "good"),
        "failed": (7, "bad"),
        "duplicate": (2, "plain"),
        "conflict": (1, "warn"),
    }
    assert told["Effects"][1] == {
        "applied": (4, "good"),
        "not confirmed by Redis": (4, "bad"),
    }
    assert told["Sweep"][1] == {"results reported missing": (4, "bad")}
    assert told["Look-ups by source"][1] == {"tombstone in Redis": (3, "plain")}
    assert len({unit for unit, _shares in told.values()}) == len(told)
    page = body(client, INDEX)
    assert "<meter" not in page
    for tone in ("good", "bad", "warn", "plain"):
        assert f'<svg class="combat-bar combat-tone-{tone}"' in page


def test_failures_are_drawn_in_the_colour_of_what_is_bad(client: Client) -> None:
    for outcome in ("duplicate", "conflict", "failed"):
        add_count(f"combat.{outcome}", 5, timedelta(minutes=2))
    page = body(client, INDEX)
    for css, name in (
        ("combat-line-1", "duplicates"),
        ("combat-line-warn", "conflicts"),
        ("combat-line-bad", "failed"),
    ):
        assert f'<span class="combat-key {css}">{name}</span>' in page
        assert f'<polyline class="{css}"' in page
    add_settled(timedelta(minutes=3))
    drawn = client.get(INDEX).context["charts"]
    (latency,) = (chart for chart in drawn if str(chart.title) == "Latency, ms")
    alarming = {"combat-line-bad", "combat-line-warn"}
    assert not alarming & {css for css, _name in latency.keys}


def test_what_leaves_no_row_is_counted(client: Client) -> None:
    for name, number in {
        "combat.duplicate": 11,
        "combat.conflict": 3,
        "lookup.tombstone": 40,
        "lookup.<script>": 7,
        "effects.first": 5,
        "sweep.lost": 2,
    }.items():
        add_count(name, number, timedelta(minutes=2), process=f"{SCRIPT}:1")
    page = body(client, INDEX)
    text = text_of(page)
    assert "duplicates 11 conflicts 3" in text
    assert "duplicate 11 conflict 3" in text
    assert "tombstone in Redis 40 <script> 7" in text
    assert "first 5" in text
    assert "lost 2" in text
    assert "<script>:1" not in page
    assert "<script>alert('x')</script>:1 counted at" in text


def test_what_is_counted_has_words(client: Client) -> None:
    assert dashboard_pages.SWEPT.keys() == CASES.keys()
    add_count("lookup.postgresql", 2, timedelta(minutes=2))
    add_count("effects.not_confirmed", 3, timedelta(minutes=2))
    text = text_of(body(client, INDEX))
    assert "PostgreSQL 2" in text
    assert "not confirmed by Redis 3" in text


def test_the_lists_most_used_come_first(client: Client) -> None:
    page = body(client, INDEX)
    shown = re.findall(r'id="combat_history-(\w+)"', page)
    assert shown[:2] == ["combathistory", "character"]
    assert len(shown) == len(BY_USE)
    assert page.index("app-combat_history") < page.index("app-auth")


def test_heartbeats_of_all_hosts_are_told(
    client: Client, redis_client: redis.Redis
) -> None:
    assert "None was heard." in text_of(body(client, INDEX))
    presence.say("worker")
    text = text_of(body(client, INDEX))
    assert re.search(r"worker \S+:\d+ heard \d+ ms ago", text)
    assert "silent" not in text
    long_ago = (datetime.now(UTC).timestamp() - 600) * 1000
    redis_client.zadd(redis_keys.ALIVE, {"worker@far:7": long_ago})
    text = text_of(body(client, INDEX))
    assert re.search(r"worker far:7 heard 60\d\.\d s ago silent", text)


def test_a_closed_redis_leaves_out_its_own_figures(
    client: Client, settings: Settings
) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    text = text_of(body(client, INDEX))
    assert "in the inbox — inbox overdue —" in text


def test_a_slow_figure_takes_no_other_down(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "STATEMENT_MS", 50)
    monkeypatch.setattr(dashboard, "COUNTS", "SELECT 'x', now(), pg_sleep(5)::text")
    add_settled(timedelta(minutes=1))
    text = text_of(body(client, INDEX))
    assert "could not be read in time" in text
    assert "settled 1 " in text


def test_the_part_that_renews_is_the_part_that_is_shown(client: Client) -> None:
    add_count("combat.duplicate", 11, timedelta(minutes=2))
    page = body(client, INDEX, {"range": "week"})
    (url,) = re.findall(r'data-url="([^"]+)"', page)
    assert url == f"{FIGURES}?range=week"
    response = client.get(url)
    fragment = response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert "<html" not in fragment
    assert "duplicates 11" in text_of(fragment)
    charts = '<svg class="combat-chart"'
    assert fragment.count(charts) == page.count(charts) == 3


def test_a_range_of_nonsense_is_an_hour(client: Client) -> None:
    page = body(client, INDEX, {"range": SCRIPT})
    assert (
        'data-url="/admin/combat_history/combathistory/dashboard/?range=hour"' in page
    )


def test_the_page_runs_no_inline_script_and_asks_nobody_else(client: Client) -> None:
    page = body(client, INDEX)
    own = page[page.index("combat-dashboard") : page.index("combat-index") :]
    for script in re.findall(r"<script[^>]*>", page):
        assert "src=" in script or "application/json" in script
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert " on" not in re.sub(r">[^<]*<", "><", own).replace(" one", "")
    script_file = finders.find("combat_history/dashboard.js")
    source = Path(str(script_file)).read_text(encoding="utf-8")
    assert "eval" not in source
    assert "http" not in source.replace("XMLHttpRequest", "")


def test_the_figures_are_for_those_who_may_view_combats(viewer: User) -> None:
    client = logged_in(viewer)
    assert "combat-figures" in body(client, INDEX)
    assert client.get(FIGURES).status_code == 200
    viewer.user_permissions.remove(
        Permission.objects.get(codename="view_combathistory")
    )
    assert "combat-figures" not in body(client, INDEX)
    assert client.get(FIGURES).status_code == 403
    assert Client().get(FIGURES).status_code == 302


def test_the_dashboard_costs_a_fixed_number_of_queries(client: Client) -> None:
    def live() -> None:
        add_settled(timedelta(minutes=1))
        add_failed("poison")
        for n in range(30):
            add_count(f"lookup.{n}", 1, timedelta(minutes=n), process=f"w:{live_id[0]}")
        live_id[0] += 1

    live_id: list[Any] = [0]
    live()
    body(client, FIGURES)
    few = {span: count_queries(client, f"{FIGURES}?range={span}") for span in Span}
    for _ in range(5):
        live()
    assert few == {
        span: count_queries(client, f"{FIGURES}?range={span}") for span in Span
    }


def test_what_needs_a_person_stands_first_the_worst_before(client: Client) -> None:
    assert "No fight has come yet" in body(client, INDEX)
    held = add_failed("held_for_review", failure_subject="rule 1")
    assert "combat-card-warn" in body(client, INDEX)
    for _ in range(2):
        add_failed(failure_subject="moon_dust")
    page = text_of(body(client, FIGURES))
    assert page.index("Unknown item: moon_dust") < page.index("Held for review: rule 1")
    assert "2 combats · 1 player waits" in page
    until = timezone.now() + timedelta(hours=1)
    for row in CombatHistory.objects.exclude(pk=held.pk):
        Triage.objects.create(kind="combat", target_id=str(row.pk), snoozed_until=until)
    assert "moon_dust" not in text_of(body(client, FIGURES)).split("settled")[0]


def test_records_that_nobody_has_seen_are_on_the_worklist(client: Client) -> None:
    one_of_each()
    page = text_of(body(client, FIGURES)).split("settled")[0]
    for title in ("Rejected and conflicting", "Parked operations", "Discrepancies"):
        assert title in page
    for kind, model in (
        ("rejected", RejectedPayload),
        ("parked", ParkedOperation),
        ("discrepancy", SettlementDiscrepancy),
    ):
        (target,) = model.objects.values_list("pk", flat=True)
        Triage.objects.create(
            kind=kind, target_id=str(target), acknowledged_at=timezone.now()
        )
    page = text_of(body(client, FIGURES)).split("settled")[0]
    assert "Parked operations" not in page
    assert "Discrepancies" not in page


@pytest.mark.parametrize(("seconds", "tone"), [(1, "good"), (60, "warn"), (600, "bad")])
def test_health_is_coloured_by_its_thresholds(
    client: Client, redis_client: redis.Redis, seconds: int, tone: str
) -> None:
    due = datetime.now(UTC) - timedelta(seconds=seconds)
    redis_client.zadd(redis_keys.INBOX, {"x": due.timestamp() * 1000})
    page = body(client, FIGURES)
    assert re.search(rf'inbox overdue</dt><dd class="combat-tone-{tone}">', page)
