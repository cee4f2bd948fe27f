"""Belts while others fight, settle, sweep and die."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import redis
from django.db import connection

from combat_history.models import CombatHistory
from persistence.belts import reservations
from persistence.belts.belt import Held
from persistence.belts.containers import Stage
from persistence.belts.orphans import release_orphaned
from persistence.contract import redis_keys
from persistence.contract.document import Document
from persistence.engine.handoff import checked
from persistence.tasks import settle_inbox
from persistence.worker import inbox
from persistence.worker.transactions import open_cursor
from tests.support import crash
from tests.support.belts import (
    CONTAINER,
    add_fighter,
    begin,
    container,
    holders,
    ids_on_belt,
    is_ready,
    result_of,
)
from tests.support.documents import HERO, POTION, make_document, make_participant
from tests.support.ids import new_session_id
from tests.support.parallel import (
    character_locked,
    in_processes,
    in_threads,
    wait_until_blocked,
)
from tests.support.trace import statements_in, traced
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("world")


COMPARE_AND_SET = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


def test_containers_that_the_engine_changes_meanwhile_keep_both_changes(
    redis_client: redis.Redis, fight: UUID
) -> None:
    crowd = range(200, 260)
    for char_id in crowd:
        add_fighter(char_id)
    key = begin(redis_client, fight, *crowd)
    compare_and_set = redis_client.register_script(COMPARE_AND_SET)
    blows: Counter[int] = Counter()

    def engine() -> None:
        for char_id in [*crowd] * 10:
            field = f"actor:{char_id}"
            text = redis_client.hget(key, field) or b""
            actor = json.loads(text)
            new = json.dumps({**actor, "hp": actor["hp"] - 1})
            if compare_and_set(keys=[key], args=[field, text, new]):
                blows[char_id] += 1

    in_threads(engine, lambda: reservations.assemble(fight, crowd))

    for char_id in crowd:
        actor = container(redis_client, fight, char_id)
        assert [item["inventory_id"] for item in actor["belt_items"]] == [
            char_id * 10 + 1
        ]
        assert actor["hp"] == CONTAINER["hp"] - blows[char_id]


def test_container_that_is_not_what_was_read_is_not_written(
    redis_client: redis.Redis, fight: UUID
) -> None:
    key = begin(redis_client, fight, HERO, 102)
    read = redis_client.hget(key, "actor:102") or b""
    redis_client.hset(key, f"actor:{HERO}", "changed")

    reply = inbox.script("belts")(
        keys=[key, redis_keys.result(fight), redis_keys.belts_ready(fight)],
        args=[60, HERO, "[]", read, "new", 102, "[]", read, "new"],
    )

    assert reply == [b"active", str(HERO).encode()]
    assert redis_client.hget(key, f"actor:{HERO}") == b"changed"
    assert redis_client.hget(key, "actor:102") == b"new"
    assert not is_ready(redis_client, fight)


def test_player_who_fights_again_at_once_finds_what_the_last_fight_left(
    redis_client: redis.Redis, fight: UUID
) -> None:
    earlier = new_session_id()
    begin(redis_client, earlier, HERO)
    reservations.assemble(earlier, [HERO])
    inbox.record(checked(result_of(earlier, used=2)))
    begin(redis_client, fight, HERO)
    assembled: list[reservations.Assembly] = []

    def settle_once_waited_for() -> None:
        held = {POTION: earlier}
        assert holders() == held
        settle_inbox()

    in_threads(
        lambda: assembled.append(reservations.assemble(fight, [HERO])),
        settle_once_waited_for,
    )

    (item,) = assembled[0].belts[HERO]
    assert item.quantity == 3
    assert holders() == {POTION: fight}


def test_two_fights_racing_for_one_belt_one_gets_it(
    redis_client: redis.Redis,
) -> None:
    for _ in range(10):
        fights = [new_session_id(), new_session_id()]
        for fight in fights:
            begin(redis_client, fight, HERO)
        told: dict[UUID, reservations.Assembly] = {}

        def race(fight: UUID, told: dict[UUID, reservations.Assembly] = told) -> None:
            told[fight] = reservations.assemble(fight, [HERO])

        in_threads(*[lambda f=fight: race(f) for fight in fights])

        (winner,) = [fight for fight in fights if ids_on_belt(told[fight])]
        (loser,) = set(fights) - {winner}
        assert holders() == {POTION: winner}
        assert told[loser].held == [Held(POTION, HERO, winner)]
        assert container(redis_client, loser, HERO)["belt_items"] == []
        with open_cursor() as cursor:
            reservations.release(cursor, fights)


@pytest.mark.parametrize("end", ["finished", "settled and gone"])
def test_fight_that_ends_while_its_belt_is_reserved_gets_none(
    redis_client: redis.Redis, fight: UUID, end: str
) -> None:
    (earlier,) = add_fighter(102)
    key = begin(redis_client, fight, HERO, 102)
    reservations.assemble(fight, [102])
    locked: list[bool] = []
    assembled: list[reservations.Assembly] = []

    def finish_once_it_waits() -> None:
        with character_locked(HERO):
            locked.append(True)
            wait_until_blocked(1)
            if end == "finished":
                redis_client.hset(key, "status", "finished")
            else:
                redis_client.delete(key)

    def assemble() -> None:
        wait_until(lambda: locked, "the character is locked")
        assembled.append(reservations.assemble(fight, [HERO, 102]))

    in_threads(finish_once_it_waits, assemble)

    assert assembled[0].stage is Stage.OVER
    # What an earlier call reserved is the settlement's to release.
    assert holders() == {earlier: fight}


def assemble_in_child(fight: UUID, _: Callable[[str], None]) -> None:
    reservations.assemble(fight, [HERO])


def test_killed_anywhere_then_repeated_the_belt_is_whole(
    redis_client: redis.Redis,
) -> None:
    """Between the commit and the containers, too."""
    for point in crash.every_crash([crash.When.BEFORE, crash.When.AFTER]):
        fight = new_session_id()
        begin(redis_client, fight, HERO)
        connection.close()
        done = crash.run(partial(assemble_in_child, fight), point)

        assert ids_on_belt(reservations.assemble(fight, [HERO])) == [POTION], point

        assert holders() == {POTION: fight}, point
        assert container(redis_client, fight, HERO)["belt_items"], point
        assert is_ready(redis_client, fight), point
        with open_cursor() as cursor:
            reservations.release(cursor, [fight])
        if not done.is_killed:
            assert done.operations >= 8, "the trace shows statements and scripts"
            return


def test_assembly_costs_as_many_statements_for_fifty_fighters_as_for_one(
    redis_client: redis.Redis, tmp_path: Path
) -> None:
    fifty = range(200, 250)
    for char_id in fifty:
        add_fighter(char_id, items=2)

    def statements(*char_ids: int) -> Counter[str]:
        fight = new_session_id()
        begin(redis_client, fight, *char_ids)
        with traced(tmp_path / "trace"):
            assembly = reservations.assemble(fight, char_ids)
        assert all(assembly.belts.values())
        with open_cursor() as cursor:
            reservations.release(cursor, [fight])
        return statements_in(tmp_path / "trace")

    for _ in range(8):  # the first ones of a connection also prepare
        statements(HERO)

    one = statements(HERO)

    assert sum(one.values()) > 4, "the trace shows the transaction"
    assert statements(*fifty) == one


ASSEMBLE = """
from uuid import UUID
from persistence.belts import reservations
from persistence.belts.orphans import release_orphaned
if argument["settle"]:
    settle_combat(argument["document"])
    release_orphaned()
else:
    session_id = UUID(argument["document"]["session_id"])
    reservations.assemble(session_id, argument["char_ids"])
"""


def test_settling_assembling_and_sweeping_at_once_never_deadlock(
    redis_client: redis.Redis, tmp_path: Path
) -> None:
    """Crowds share fighters and belts; some results leave fighters out."""
    fighters = list(range(201, 209))
    for char_id in fighters:
        add_fighter(char_id, items=3, quantity=1000)
    rng = random.Random(5)
    inputs: list[list[Document]] = [[], [], [], []]
    for number in range(160):
        fight, crowd = new_session_id(), rng.sample(fighters, 4)
        begin(redis_client, fight, *crowd)
        parts = {str(char_id): make_participant() for char_id in crowd[:3]}
        one = {"document": make_document(parts, session_id=fight), "char_ids": crowd}
        for step, settle in enumerate((False, True)):
            inputs[(number + step) % 4].append({**one, "settle": settle})
    before = deadlocks()

    logs = in_processes(f"exec({ASSEMBLE!r})", inputs, tmp_path)

    assert deadlocks() == before
    assert not any("rolled back" in log for log in logs)
    settled = CombatHistory.objects.filter(settlement_status="processed").count()
    assert settled == 160
    release_orphaned()
    assert holders() == {}


def deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        (count,) = cursor.fetchone()
    return int(count)
