"""What a game adds: rows in our transactions, scopes and modes of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from pytest_django import Settings

from combat_history.actions.operate import operate
from combat_history.actions.undo import undo_operation
from combat_history.models import Character, CombatHistory, Operation, RejectedPayload
from combat_history.reconcile import reconcile
from persistence.contract.operate import Operation as Asked
from persistence.dispatcher import SyncDispatcher
from persistence.protocols import Applied
from persistence.tasks import settle_inbox, task_sync_state
from settlement_project import extensions
from settlement_project.env import Environment
from tests.conftest import Settle
from tests.support.documents import HERO, make_document, make_participant
from tests.support.engine import account, intents
from tests.support.factories import add_character
from tests.support.ids import new_session_id
from tests.support.operating import operation
from tests.support.undoing import permitted, undo

FRIEND = 102
APP = "examples.extension"


class Recorder:
    """Writes down what a hook is told, in a table, as a hook has to."""

    def settled(self, cursor: Any, applied: Sequence[Applied]) -> None:
        for one in applied:
            cursor.execute(
                "INSERT INTO game_fishing_trips VALUES (%s, %s, %s)",
                [one.id, HERO, len(one.op_id + one.reason)],
            )

    def undone(self, cursor: Any, applied: Sequence[Any]) -> None:
        cursor.execute("UPDATE game_fishing_trips SET fish = -fish")


class Picky:
    def settled(self, cursor: Any, applied: Sequence[Applied]) -> None:
        if any("note" in one.document for one in applied):
            raise LookupError("no such quest")

    def undone(self, cursor: Any, applied: Sequence[Any]) -> None:
        raise LookupError("no such quest")


@pytest.fixture(autouse=True)
def game(world: None, settings: Settings) -> Iterator[None]:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, APP]
    settings.SETTLEMENT_HOOKS = [f"{APP}.quests.Wins"]
    settings.SETTLEMENT_SAVERS = {"game_fishing": f"{APP}.fishing.FishingSaver"}
    from examples.extension.models import FishingTrip, QuestStep

    models = (QuestStep, FishingTrip)
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)
    add_character(FRIEND)
    yield
    with connection.schema_editor() as editor:
        for model in models:
            editor.delete_model(model)


def rows(table: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
        return list(cursor.fetchall())


def wins() -> list[int]:
    return [row[2] for row in rows("game_quest_steps")]


def fight(**over: Any) -> Any:
    lost = make_participant(is_winner=False)
    parts = {HERO: make_participant(xp_gained=10), FRIEND: lost, "goblin_1": {}}
    return make_document(parts, **over)


def test_its_rows_are_written_with_a_fight_and_taken_back_with_it(
    settle_here: Settle,
) -> None:
    settle_here(fight(), document := fight())
    settle_here(document)
    assert wins() == [HERO, HERO]

    undo(CombatHistory.objects.get(pk=document["session_id"]).pk, permitted())

    assert wins() == [HERO]
    assert reconcile().count == 0


def test_what_a_hook_refuses_fails_alone(
    engine: SyncDispatcher, settings: Settings
) -> None:
    settings.SETTLEMENT_HOOKS = [f"{APP}.quests.Wins", f"{__name__}.Picky"]
    bad = fight(note="of a quest that is no more")
    for document in (fight(), bad, fight()):
        engine.submit_combat_sync(document)

    settle_inbox()

    assert wins() == [HERO, HERO]
    row = CombatHistory.objects.get(pk=bad["session_id"])
    assert (row.settlement_status, row.failure_code) == ("failed", "unexpected")
    assert "no such quest" in (row.failure_traceback or "")
    assert Character.objects.get(pk=HERO).xp == 20


def test_an_undo_that_a_hook_refuses_changes_nothing(
    settle_here: Settle, settings: Settings
) -> None:
    settle_here(document := fight())
    settings.SETTLEMENT_HOOKS = [f"{APP}.quests.Wins", f"{__name__}.Picky"]
    session_id = CombatHistory.objects.get(pk=document["session_id"]).pk

    with pytest.raises(LookupError):
        undo(session_id, permitted())

    assert wins() == [HERO]
    assert Character.objects.get(pk=HERO).xp == 10


def test_an_operation_is_told_once_and_undone(settings: Settings) -> None:
    settings.SETTLEMENT_HOOKS = [f"{__name__}.Recorder"]
    asked = Asked.read(operation("quest-7", "Dragon", c101={"xp_gained": 5}))
    for _ in range(2):
        operate(asked, "game")
    row = Operation.objects.get()
    assert rows("game_fishing_trips") == [(row.id, HERO, len("quest-7Dragon"))]

    admin: User = permitted()
    undo_operation(
        "quest-7", actor=admin, reason="No dragon there", on_shortage="refuse"
    )

    assert rows("game_fishing_trips") == [(row.id, HERO, -len("quest-7Dragon"))]


def test_a_mode_of_its_own_is_saved_when_it_is_left(
    engine: SyncDispatcher, redis_client: redis.Redis
) -> None:
    lake = engine.switch_context_sync(char_id=HERO, to="game_fishing")
    redis_client.hset(f"fishing:{lake.session_id}", "fish", 3)
    river = engine.switch_context_sync(
        char_id=HERO, to="game_fishing", session_id=new_session_id()
    )
    assert river.closed == {"game_fishing": str(lake.session_id)}

    engine.start_combat_sync(new_session_id(), [HERO])
    assert intents(redis_client) >= {f"game_fishing:{HERO}"}
    task_sync_state("game_fishing", HERO)

    saved = {
        str(trip): (owner, fish) for trip, owner, fish in rows("game_fishing_trips")
    }
    assert saved == {
        str(lake.session_id): (HERO, 3),
        str(river.session_id): (HERO, 0),
    }
    assert set(account(redis_client, HERO)) == {"combat_session_id", "own_modes"}
    assert f"game_fishing:{HERO}" not in intents(redis_client)


def test_a_scope_without_a_saver_is_kept_as_it_came(engine: SyncDispatcher) -> None:
    engine.dispatch_sync("game_cooking", char_id=HERO)
    task_sync_state("game_cooking", HERO)

    (kept,) = RejectedPayload.objects.all()
    assert kept.code == "unreadable_message"
    assert "SETTLEMENT_SAVERS names no Saver of game_cooking" in str(kept.errors)


@pytest.mark.parametrize(
    "name", ["gold", "game_", "game_Fish", "game_fish\n", "Game_x"]
)
def test_other_names_are_refused_by_the_engines_side(
    engine: SyncDispatcher, name: str
) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        engine.dispatch_sync(name, char_id=HERO)
    with pytest.raises(ValueError, match="is not a valid"):
        engine.switch_context_sync(char_id=HERO, to=name)


def test_settings_that_name_no_class_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETTLEMENT_SAVERS", "fishing=game.Saver, game_a=Saver")
    monkeypatch.setenv("SETTLEMENT_HOOKS", "game.quests.Wins, import os")
    env = Environment()

    extensions.read(env)

    with pytest.raises(ImproperlyConfigured) as told:
        env.raise_if_invalid()
    for words in (
        "'fishing' does not begin with game_",
        "'Saver' is no dotted path",
        "'import os' is no dotted path",
    ):
        assert words in str(told.value)
