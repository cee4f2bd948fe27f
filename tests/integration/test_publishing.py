"""Events go out after the commit: at least once, in order, whoever dies when."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings as project
from django.db import connection, connections
from django.db.utils import IntegrityError
from pytest_django import Settings

from combat_history.models import CombatHistory, EventPublication, SettlementEvent
from persistence import tasks
from persistence.contract import redis_keys
from persistence.contract.events import EventKind
from persistence.tasks import publish_events, settle_combat, settle_inbox
from persistence.worker import inbox, publishing
from tests.support import crash, roles
from tests.support.crash import Tell, When, every_crash
from tests.support.documents import HERO, hero_fight, make_document, make_participant
from tests.support.factories import add_character
from tests.support.happenings import all_events, only, streamed
from tests.support.parallel import in_threads
from tests.support.redis_server import redis_away
from tests.support.worker import database_url

pytestmark = pytest.mark.usefixtures("world")

INSERT = (
    "INSERT INTO settlement_events (kind, op_id, character_ids, body) "
    "VALUES ('operation.applied', %s, '{101}', '{}') RETURNING id"
)


def write(other: psycopg.Connection[Any] | None = None, name: str = "x") -> int:
    if other is not None:
        return int(other.execute(INSERT, [name]).fetchone()[0])  # type: ignore[index]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [name])
        return int(cursor.fetchone()[0])


def published(channel: str = "stream") -> int:
    return EventPublication.objects.get(pk=channel).published


def test_a_drain_publishes_what_it_has_settled(redis_client: redis.Redis) -> None:
    settle_combat(hero_fight(xp_gained=1))

    assert streamed(redis_client) == all_events()
    assert published() == only().id


def test_nothing_is_published_twice_nor_out_of_order(redis_client: redis.Redis) -> None:
    for gold in (5, 6):
        settle_combat(hero_fight(gold_gained=gold))
    # As if the publisher had died before it noted how far it was.
    EventPublication.objects.update(published=0)

    publish_events()

    assert streamed(redis_client) == all_events()
    assert published() == all_events()[-1].id


def test_no_settled_fight_is_without_its_event_wherever_a_process_is_killed(
    redis_client: redis.Redis,
) -> None:
    def work(_: Tell) -> None:
        inbox.client.cache_clear()
        inbox.script.cache_clear()
        settle_combat(hero_fight(xp_gained=1))
        settle_inbox()

    for at in every_crash([When.AFTER]):
        connections.close_all()
        run = crash.run(work, at)
        settled = set(CombatHistory.objects.filter(settlement_status="processed"))
        events = [e for e in all_events() if e.kind == EventKind.SETTLED]
        assert {row.pk for row in settled} == {event.session_id for event in events}
        assert len(settled) == len(events), at
        told = [event.id for event in streamed(redis_client)]
        assert told == [event.id for event in all_events()][: len(told)]
        if not run.is_killed:
            break

    publish_events()
    assert at.operation > 15
    assert streamed(redis_client) == all_events()


def test_what_commits_late_is_waited_for(redis_client: redis.Redis) -> None:
    with psycopg.connect(database_url()) as late:
        first = write(late)
        second = write()
        assert first < second
        publish_events()
        assert streamed(redis_client) == []
        late.commit()

    publish_events()

    assert [event.id for event in streamed(redis_client)] == [first, second]


def test_what_is_rolled_back_holds_nothing_up(redis_client: redis.Redis) -> None:
    with psycopg.connect(database_url()) as late:
        write(late)
        second = write()
        late.rollback()

    publish_events()

    assert [event.id for event in streamed(redis_client)] == [second]


def test_who_has_begun_and_written_no_event_holds_nothing_up(
    redis_client: redis.Redis,
) -> None:
    with psycopg.connect(database_url()) as other:
        other.execute("UPDATE characters SET hp = hp WHERE id = %s", [HERO])
        id_ = write()
        publish_events()
        assert [event.id for event in streamed(redis_client)] == [id_]


def test_of_a_character_the_order_is_that_of_what_happened(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "PACE_SECONDS", 0)
    players = [HERO, 102, 103]
    for char_id in players[1:]:
        add_character(char_id)

    def fights(shift: int) -> list[str]:
        two = [players[(shift + n) % 3] for n in (0, 1)]
        parts = {char_id: make_participant(xp_gained=1) for char_id in two}
        return [json.dumps(make_document(parts)) for _ in range(20)]

    def play(documents: list[str]) -> None:
        for document in documents:
            tasks.settle_combat(document)

    in_threads(*(lambda shift=shift: play(fights(shift)) for shift in range(3)))
    publish_events()

    told = streamed(redis_client)
    assert told == all_events()
    of_character: defaultdict[int, list[Any]] = defaultdict(list)
    for event in told:
        for char_id in event.character_ids:
            of_character[char_id].append(event.session_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT character_id, array_agg(session_id ORDER BY id) "
            "FROM settlement_ledger WHERE kind = 'settlement' GROUP BY 1"
        )
        assert dict(cursor.fetchall()) == dict(of_character)


def test_one_publishes_at_a_time(redis_client: redis.Redis) -> None:
    with psycopg.connect(database_url()) as other:
        other.execute(publishing.TRY_LOCK, [0])
        settle_combat(hero_fight(xp_gained=1))
        assert streamed(redis_client) == []

    publish_events()

    assert streamed(redis_client) == all_events()


def test_what_redis_has_lost_is_told_again(redis_client: redis.Redis) -> None:
    for gold in (5, 6, 7):
        settle_combat(hero_fight(gold_gained=gold))
    redis_client.delete(redis_keys.EVENTS)

    publish_events()

    assert streamed(redis_client) == all_events()


def test_the_stream_keeps_about_so_many(
    redis_client: redis.Redis, settings: Settings
) -> None:
    settings.SETTLEMENT_EVENTS_KEPT = 2
    for number in range(3):
        write(name=f"op-{number}")

    publish_events()

    # What it would drop again is not even told.
    assert streamed(redis_client) == all_events()[1:]
    redis_client.delete(redis_keys.EVENTS)
    publish_events()
    assert streamed(redis_client) == all_events()[1:]


def test_a_table_that_was_restored_is_told_of_and_nothing_dropped(
    redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis_client.xadd(redis_keys.EVENTS, {"event": "{}"}, id=f"{10**12}-0")
    settle_combat(hero_fight(xp_gained=1))

    assert "settlement_events_id_seq" in caplog.text
    assert not EventPublication.objects.exists()


def test_without_redis_they_wait(
    redis_client: redis.Redis,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write()
    with redis_away(settings), caplog.at_level(logging.ERROR):
        publish_events()
    assert "events wait" in caplog.text
    publish_events()
    assert streamed(redis_client) == all_events()


def test_a_task_of_the_game_is_told_what_happens_from_then_on(
    redis_client: redis.Redis, settings: Settings
) -> None:
    write(name="before")
    settings.SETTLEMENT_EVENTS_TASK = "game.on_event"
    publish_events()
    settle_combat(hero_fight(xp_gained=1))
    write(name="later")

    publish_events()

    with redis.Redis.from_url(project.BROKER_URL) as broker:
        sent: Any = broker.lrange("game", 0, -1)
    messages = [json.loads(message) for message in reversed(sent)]
    assert [m["headers"]["task"] for m in messages] == ["game.on_event"] * 2
    settled, later = all_events()[1:]
    told = [m["headers"]["argsrepr"] for m in messages]
    assert f"'id': {settled.id}" in told[0]
    assert f"'id': {later.id}" in told[1]
    publish_events()
    with redis.Redis.from_url(project.BROKER_URL) as broker:
        assert broker.llen("game") == 2


def test_events_are_append_only(database_roles: None) -> None:
    id_ = write()
    for statement in (
        "UPDATE settlement_events SET body = '{}' WHERE id = %s",
        "DELETE FROM settlement_events WHERE id = %s",
    ):
        with (
            pytest.raises(IntegrityError, match="append-only"),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, [id_])
    for name in (roles.NAMES.worker, roles.NAMES.web):
        with roles.acting_as(name), connection.cursor() as cursor:
            with pytest.raises(Exception, match="permission denied"):
                cursor.execute("DELETE FROM settlement_events")
            cursor.execute(INSERT, ["y"])
            cursor.execute("SELECT settlement_events_horizon()")
            assert cursor.fetchone()[0] > id_
    assert SettlementEvent.objects.count() == 3
