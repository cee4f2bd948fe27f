"""/metrics: what it tells, to whom, at what cost, and what of it in an outage."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from combat_history.actions import mode as control
from combat_history.actions.mode import Actor
from combat_history.insight import figures
from combat_history.models import (
    ParkedOperation,
    RejectedPayload,
    SettlementDiscrepancy,
    Status,
    Triage,
)
from persistence.contract import redis_keys
from persistence.worker import presence
from persistence.worker.mode import Mode
from tests.support.admin import add_combat, add_failed, with_status
from tests.support.api import NOBODY_LISTENS, get
from tests.support.documents import HERO
from tests.support.ids import new_session_id

TOKEN = "a-token-of-prometheus"

pytestmark = pytest.mark.usefixtures("world", "api", "_token")

Numbers = dict[tuple[str, str], float]
"""By metric and the value of its label."""


@pytest.fixture
def _token(settings: Settings) -> None:
    settings.SETTLEMENT_METRICS_TOKENS = [TOKEN]


def scrape() -> Numbers:
    response = get("/metrics", TOKEN)
    assert response.status_code == HTTPStatus.OK
    assert response["Content-Type"].startswith("text/plain; version=")
    assert "no-store" in response["Cache-Control"]
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def test_combats_are_counted_by_status_and_cause() -> None:
    for status in (Status.PROCESSED, Status.PENDING, Status.VOIDED, Status.VOIDED):
        with_status(status)
    for code in ("unknown_item", "unknown_item", "poison"):
        add_failed(code)

    told = scrape()

    exact = {
        label: n for (name, label), n in told.items() if name == "settlement_combats"
    }
    assert exact == {"pending": 1, "failed": 3, "voided": 2}
    assert told["settlement_failures", "unknown_item"] == 2
    assert told["settlement_failures", "poison"] == 1
    assert told["settlement_combats_estimated", "total"] == 7
    assert told["settlement_combats_estimated", "processed"] == 1


def test_a_large_table_is_estimated_from_the_last_analyze(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if ten were many: what is counted then ends there, what is analyzed does not.
    monkeypatch.setitem(figures.PARAMETERS, "newest", 10)
    for _ in range(20):
        add_failed()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE combat_history")
    add_failed()

    told = scrape()

    assert told["settlement_combats_estimated", "total"] == 20
    assert told["settlement_combats", "failed"] == 21
    assert told["settlement_failures", "unknown_item"] == 10


def test_the_age_of_the_oldest_pending_is_since_it_came_due() -> None:
    now = datetime.now(UTC)
    assert scrape()["settlement_oldest_pending_seconds", ""] == 0

    add_combat(due_at=now + timedelta(hours=1))
    assert scrape()["settlement_oldest_pending_seconds", ""] == 0

    add_combat(due_at=now - timedelta(hours=1))
    add_combat(due_at=now - timedelta(minutes=1))
    assert scrape()["settlement_oldest_pending_seconds", ""] == pytest.approx(
        3600, abs=60
    )


def test_latency_is_of_the_last_five_minutes() -> None:
    now = datetime.now(UTC)
    assert ("settlement_latency_seconds", "95") not in scrape()

    for seconds in range(1, 101):
        settled = now - timedelta(seconds=90 if seconds <= 60 else 1)
        settle_at(settled, settled - timedelta(seconds=seconds))
    settle_at(now - timedelta(minutes=6), now - timedelta(hours=1))

    told = scrape()
    assert told["settlement_settled_last_minute", ""] == 40
    assert told["settlement_latency_seconds", "50"] == pytest.approx(50.5)
    assert told["settlement_latency_seconds", "95"] == pytest.approx(95.05)
    assert told["settlement_latency_seconds", "99"] == pytest.approx(99.01)


def settle_at(settled: datetime, received: datetime, **over: object) -> None:
    add_combat(
        settlement_status=Status.PROCESSED,
        settled_at=settled,
        received_at=received,
        **over,
    )


def test_latency_leaves_out_what_was_replayed() -> None:
    now = datetime.now(UTC)
    settle_at(now, now - timedelta(seconds=2))
    failed = now - timedelta(hours=3)
    settle_at(now, now - timedelta(hours=4), failed_at=failed)

    told = scrape()
    assert told["settlement_settled_last_minute", ""] == 2
    assert told["settlement_latency_seconds", "99"] == pytest.approx(2)


@pytest.mark.parametrize("let_go", [Mode.RUNNING, Mode.DRAINING])
def test_latency_leaves_out_what_a_pause_held_back(let_go: Mode) -> None:
    actor, reason = Actor("anna"), "an update of the game"
    control.set_mode(Mode.PAUSED, actor=actor, reason=reason)
    accepted = datetime.now(UTC)
    control.set_mode(let_go, actor=actor, reason=reason)
    after = datetime.now(UTC)

    settle_at(after + timedelta(seconds=40), accepted - timedelta(seconds=1))
    settle_at(after - timedelta(seconds=1), after - timedelta(seconds=4))
    settle_at(after + timedelta(seconds=3), after)

    assert scrape()["settlement_latency_seconds", "99"] == pytest.approx(3)


def test_open_is_what_nobody_has_acknowledged() -> None:
    now = datetime.now(UTC)
    combat = add_combat()
    lacks = [
        SettlementDiscrepancy.objects.create(
            session_id=combat.pk,
            character_id=HERO,
            code="item_gone",
            wanted=1,
            applied=0,
        )
        for _ in range(3)
    ]
    RejectedPayload.objects.create(code="not_json", raw=b"{")
    ParkedOperation.objects.create(
        scope="inventory", character_id=HERO, op_id="1", operation={}, code="item_gone"
    )
    ParkedOperation.objects.create(
        scope="inventory",
        character_id=HERO,
        op_id="2",
        operation={},
        code="item_gone",
        resolved_at=now,
        resolution="applied",
    )
    Triage.objects.create(
        kind="discrepancy", target_id=str(lacks[0].pk), acknowledged_at=now
    )
    Triage.objects.create(kind="discrepancy", target_id=str(lacks[1].pk), note="later")
    # Another kind's row of the same number says nothing of this one.
    Triage.objects.create(
        kind="parked", target_id=str(lacks[2].pk), acknowledged_at=now
    )

    told = scrape()

    counted = {
        kind: told["settlement_open", kind]
        for kind in ("discrepancy", "rejected", "parked")
    }
    assert counted == {"discrepancy": 2, "rejected": 1, "parked": 1}


def test_redis_tells_what_waits_in_it(redis_client: redis.Redis) -> None:
    now = time.time()
    due = {"a": (now - 30) * 1000, "b": (now - 3) * 1000, "leased": (now + 30) * 1000}
    redis_client.zadd(redis_keys.INBOX, due)
    redis_client.zadd(redis_keys.INTENTS, {"vitals:101": (now - 7) * 1_000_000})
    redis_client.zadd(redis_keys.ACTIVE, {"c": now * 1000})
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.rpush("saves", "a message", "another")

    told = scrape()

    assert told["settlement_inbox_length", ""] == 3
    assert told["settlement_inbox_due", ""] == 2
    assert told["settlement_inbox_oldest_due_seconds", ""] == pytest.approx(30, abs=5)
    assert told["settlement_intents_waiting", ""] == 1
    assert told["settlement_intents_oldest_seconds", ""] == pytest.approx(7, abs=5)
    assert told["settlement_combats_active", ""] == 1
    queues = ("celery", "sweep", "saves")
    waiting = [told["settlement_messages_waiting", queue] for queue in queues]
    assert waiting == [0, 0, 2]


def test_counts_of_the_last_whole_minute_are_of_all_processes() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO minute_counts SELECT date_trunc('minute', now() - "
            "interval '70 seconds') - age * interval '1 minute', 'combat.processed', "
            "process, number FROM (VALUES (0, 'a', 5), (0, 'b', 7), (1, 'a', 100)) "
            "AS counted (age, process, number)"
        )
        assert scrape()["settlement_events_last_minute", "combat.processed"] == 12


def test_processes_of_all_hosts_are_told(redis_client: redis.Redis) -> None:
    assert scrape()["settlement_processes", "worker"] == 0

    presence.say("worker")
    now = time.time() * 1000
    said = {"worker@far:7": now - 20_000, "beat@far:8": now - 120_000, "?": now}
    redis_client.zadd(redis_keys.ALIVE, said)

    told = scrape()
    assert told["settlement_processes", "worker"] == 2
    assert told["settlement_processes", "beat"] == 0
    assert told["settlement_heartbeat_age_seconds", "worker"] < 10
    assert told["settlement_heartbeat_age_seconds", "beat"] > 100


def test_a_process_that_stops_in_order_is_no_longer_missed() -> None:
    presence.say("beat")
    presence.end("beat")

    assert ("settlement_heartbeat_age_seconds", "beat") not in scrape()


def test_what_was_answered_is_told_by_route_and_status() -> None:
    route = "GET" + "api/combats/<str:session_id>/result" + "401"
    before = scrape().get(("settlement_http_request_seconds_count", route), 0)
    get(f"/api/combats/{new_session_id()}/result?char_id=1", "wrong")
    get("/nowhere", None)

    told = scrape()
    assert told["settlement_http_request_seconds_count", route] == before + 1
    assert ("settlement_http_request_seconds_count", "GETnone404") in told


def test_while_a_token_is_rotated_both_are_good(settings: Settings) -> None:
    settings.DEBUG = False
    settings.SETTLEMENT_METRICS_TOKENS = [TOKEN, "the-next-one-of-prometheus"]

    for token in settings.SETTLEMENT_METRICS_TOKENS:
        assert get("/metrics", token).status_code == HTTPStatus.OK
    assert get("/metrics", "neither").status_code == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("set_token", "presented", "status"),
    [
        (TOKEN, None, HTTPStatus.FORBIDDEN),
        (TOKEN, "", HTTPStatus.FORBIDDEN),
        (TOKEN, "another", HTTPStatus.FORBIDDEN),
        (TOKEN, TOKEN[:-1], HTTPStatus.FORBIDDEN),
        ("", None, HTTPStatus.NOT_FOUND),
        ("", "", HTTPStatus.NOT_FOUND),
    ],
)
def test_who_has_no_token_is_told_nothing(
    settings: Settings, set_token: str, presented: str | None, status: HTTPStatus
) -> None:
    settings.DEBUG = False
    settings.SETTLEMENT_METRICS_TOKENS = [set_token] if set_token else []
    response = get("/metrics", presented)
    assert (response.status_code, response.content) == (status, b"")


def test_a_developer_needs_no_token(settings: Settings) -> None:
    settings.DEBUG = True
    settings.SETTLEMENT_METRICS_TOKENS = []
    assert get("/metrics", None).status_code == HTTPStatus.OK


def test_without_redis_the_other_half_is_served(settings: Settings) -> None:
    settings.REDIS_URL = NOBODY_LISTENS
    told = scrape()
    assert told["settlement_up", "redis"] == 0
    assert told["settlement_up", "postgresql"] == 1
    assert ("settlement_inbox_length", "") not in told
    assert told["settlement_combats", "failed"] == 0


def test_without_postgresql_the_other_half_is_served(
    monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis
) -> None:
    # All threads share these, and each connection the scrape makes is a new one.
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    redis_client.zadd(redis_keys.INBOX, {"a": 0})

    told = scrape()

    assert told["settlement_up", "postgresql"] == 0
    assert told["settlement_up", "redis"] == 1
    assert told["settlement_inbox_length", ""] == 1
    assert ("settlement_combats", "failed") not in told


def test_a_figure_that_takes_too_long_takes_no_other_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Longer than any time-out of the session, and than Prometheus waits.
    endless = figures.Figure(
        "endless", {"endless": figures.Metric("")}, "SELECT 'endless', '', pg_sleep(30)"
    )
    monkeypatch.setattr(figures, "FIGURES", (endless, *figures.FIGURES))
    monkeypatch.setattr(figures, "STATEMENT_MS", 200)

    told = scrape()

    assert told["settlement_figure_up", "endless"] == 0
    assert told["settlement_figure_up", "combats"] == 1
    assert told["settlement_up", "postgresql"] == 1
    assert told["settlement_mode", "running"] == 1


LARGE = {
    "combat_history",
    "settlement_discrepancies",
    "rejected_payloads",
    "minute_counts",
}
"""Tables that nobody reads as a whole."""


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_no_figure_reads_a_large_table_as_a_whole(figure: figures.Figure) -> None:
    add_many()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {figure.sql}", figures.PARAMETERS)
        (plan,) = cursor.fetchone()
    nodes = list(nodes_of(json.loads(plan) if isinstance(plan, str) else plan))
    scanned = {n["Relation Name"] for n in nodes if n["Node Type"] == "Seq Scan"}
    assert not scanned & LARGE
    used = {n.get("Index Name") for n in nodes}
    if figure is figures.SETTLED:
        assert "combat_history_settled_at" in used
    if figure is figures.COMBATS:
        assert {"combat_history_pending", "combat_history_failed"} <= used


def nodes_of(plan: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plan, list):
        for part in plan:
            yield from nodes_of(part)
    elif isinstance(plan, dict):
        if "Node Type" in plan:
            yield plan
        for value in plan.values():
            yield from nodes_of(value)


def add_many(rows: int = 30_000) -> None:
    """Enough for the planner to prefer an index, settled over the last day."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO combat_history (session_id, participant_ids, received_at,
                settled_at, settlement_status, result_payload, failure_code)
            SELECT gen_random_uuid(), '{}', moment, CASE WHEN failed THEN NULL
                ELSE moment END, CASE WHEN failed THEN 'failed' ELSE 'processed' END,
                '{}', CASE WHEN failed THEN 'poison' END
            FROM (SELECT now() - number * interval '2 seconds' AS moment,
                  number %% 500 = 0 AS failed
                  FROM generate_series(%s, 1, -1) number) made
            """,
            [rows],
        )
        cursor.execute(
            "INSERT INTO settlement_discrepancies (session_id, character_id, code, "
            "wanted, applied) SELECT gen_random_uuid(), 1, 'item_gone', 1, 0 "
            "FROM generate_series(1, %s)",
            [rows],
        )
        cursor.execute(
            "INSERT INTO rejected_payloads (session_id, code) "
            "SELECT gen_random_uuid(), 'not_json' FROM generate_series(1, %s)",
            [rows],
        )
        cursor.execute(
            "INSERT INTO minute_counts SELECT now() - number * interval '1 minute', "
            "'combat.processed', 'a', 1 FROM generate_series(1, %s) number",
            [rows],
        )
        cursor.execute(
            "ANALYZE combat_history, settlement_discrepancies, rejected_payloads, "
            "minute_counts"
        )
