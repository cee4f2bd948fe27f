"""ops/: alerts and board are about what /metrics really serves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import yaml
from django.conf import settings as django_settings
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from combat_history.models import Status
from persistence.contract import redis_keys
from persistence.worker import presence
from tests.support.admin import add_failed, with_status
from tests.support.api import get

OPS = django_settings.BASE_DIR / "ops"
ALERTS = OPS / "prometheus" / "alerts.yml"
BOARD = OPS / "grafana" / "dashboards" / "settlement.json"

_METRIC = re.compile(r"\bsettlement_\w+")
_SELECTOR = re.compile(r'\b(settlement_\w+)\{(\w+)(?:=~|=)"')


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(BOARD.read_text(encoding="utf-8"))
    return found


def expressions() -> Iterator[str]:
    for rule in alerts():
        yield rule["expr"]
    for panel in board()["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.fixture
def served(
    world: None,
    api: None,
    settings: Settings,
    redis_client: redis.Redis,
) -> dict[str, set[str]]:
    """Metric -> names of its labels, of a scrape to which nothing is missing."""
    settings.SETTLEMENT_METRICS_TOKENS = ["a-token-of-prometheus"]
    presence.say("worker")
    add_failed()
    for status in (Status.PROCESSED, Status.PENDING):
        with_status(status)
    redis_client.zadd(redis_keys.INBOX, {"a": 0})
    get("/livez", None)
    text = get("/metrics", *settings.SETTLEMENT_METRICS_TOKENS).content.decode()
    # Of counts there is a sample only where something was counted.
    served = {
        family.name: set[str]() for family in text_string_to_metric_families(text)
    }
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # Of a histogram each part has a name of its own.
            names = served.setdefault(sample.name, set())
            names |= set(sample.labels)
            served[family.name] |= names
    served["settlement_events_last_minute"] |= {"event"}
    return served


def test_every_metric_that_is_asked_for_is_served(
    served: dict[str, set[str]],
) -> None:
    asked = {name for text in expressions() for name in _METRIC.findall(text)}
    assert asked <= set(served)
    assert len(asked) > 15


def test_every_label_that_is_asked_for_is_its_metric_s(
    served: dict[str, set[str]],
) -> None:
    asked = {pair for text in expressions() for pair in _SELECTOR.findall(text)}
    assert asked
    for metric, label in asked:
        assert label in served[metric], (metric, label)
    for panel in board()["panels"]:
        for target in panel["targets"]:
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            metrics = _METRIC.findall(target["expr"])
            assert all(shown <= served[metric] for metric in metrics), target


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names) >= 10
    for rule in alerts():
        assert set(rule["annotations"]) == {"summary", "action"}
        assert all(len(text) > 20 for text in rule["annotations"].values())
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert re.fullmatch(r"\d+m", rule["for"])
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_the_board_is_one_that_grafana_takes() -> None:
    found = board()
    assert found["uid"]
    assert found["schemaVersion"]
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    source = yaml.safe_load(
        (OPS / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"][0]
    cells = set[tuple[int, int]]()
    for panel in found["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
        place = panel["gridPos"]
        covered = {
            (place["x"] + x, place["y"] + y)
            for x in range(place["w"])
            for y in range(place["h"])
        }
        assert not covered & cells
        assert all(x < 24 for x, _ in covered)
        cells |= covered


def test_prometheus_reads_the_alerts_and_asks_as_web_lets_it() -> None:
    found = yaml.safe_load((OPS / "prometheus/prometheus.yml").read_text())
    assert found["rule_files"] == [ALERTS.name]
    (job,) = found["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"] == [{"targets": ["web:8000"]}]
