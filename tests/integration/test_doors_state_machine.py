"""Every door and every action in any order, without processes: the logic alone.

The machine keeps a model as the sender and the admin would, and after each step asks
the tables and a player's look-up whether they agree. In the end settlement runs until
nothing waits, and the oracle of the crash suite has the last word.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from typing import Any
from uuid import UUID

import hypothesis
import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from combat_history.actions import correct, replay, void
from combat_history.actions import mode as control
from combat_history.actions import undo as undoing
from combat_history.models import CombatHistory
from combat_history.reading.lookup import Credit, State, find_result
from persistence.belts.tasks import assemble_belts
from persistence.contract.errors import (
    CombatFinished,
    CombatInProgress,
    PayloadConflict,
)
from persistence.contract.identity import identity
from persistence.contract.ids import parse_session_id
from persistence.dispatcher import SyncDispatcher
from persistence.engine.handoff import Receipt
from persistence.tasks import settle_combat, settle_inbox, sweep, task_sync_state
from persistence.worker import mode as settlement
from tests.support import api
from tests.support.examples import examples
from tests.support.ids import new_session_id
from tests.support.journal import Fight, Journal, Share
from tests.support.ledger_oracle import Oracle
from tests.support.ports import free_port
from tests.support.reconciling import reconcile
from tests.support.silence import LONG_AGO_MS, fall_silent
from tests.support.spelling import SPELLINGS, respelt
from tests.support.worker import database_url

HERB = "chaos_herb"
PLAYERS, POTIONS = 4, 1000
REASON = "what a game of chance asks for"
BEGAN = 1_735_460_000

_ids = itertools.count(90_000_000)

places = st.integers(0, PLAYERS - 1)
doors = st.sampled_from(("submit", "task", "text", "http"))


class Doors(RuleBasedStateMachine):
    """`waiting`: fights that are accepted and not decided, as the sender knows."""

    fights = Bundle("fights")
    running = Bundle("running")

    def __init__(self, oracle: Oracle, engine: SyncDispatcher, admin: User) -> None:
        super().__init__()
        self._oracle, self._engine, self._admin = oracle, engine, admin
        self._players = list(itertools.islice(_ids, PLAYERS))
        self._journal = Journal(potions=dict.fromkeys(self._players, POTIONS))
        self._journal.vitals = dict.fromkeys(self._players)
        self._told: dict[UUID, Credit | None] = {}
        """What a player has to be told; None: the fight goes on."""
        self._has_row: set[UUID] = set()
        self._is_paused = False
        self._waiting: set[UUID] = set()
        self._operations = itertools.count()
        oracle.add_world(self._journal)

    @rule(
        target=fights,
        place=places,
        other=places,
        xp=st.integers(0, 9),
        gold=st.integers(0, 9),
        loot=st.integers(0, 2),
        drunk=st.integers(0, 2),
        ago=st.integers(0, 1000),
        is_flawed=st.booleans(),
        door=doors,
    )
    def hand_over(
        self,
        place: int,
        other: int,
        ago: int,
        is_flawed: bool,
        door: str,
        **values: int,
    ) -> Fight:
        shares = {self._players[n]: Share(**values) for n in {place, other}}
        failure = "unknown_item" if is_flawed else None
        fight = Fight(new_session_id(), BEGAN - ago, shares, failure)
        self._journal.offer(fight)
        assert self._send(door, fight.document) == "accepted"
        self._accepted(fight, door)
        return fight

    @rule(fight=fights, door=doors, spelling=st.sampled_from(SPELLINGS))
    def send_again(self, fight: Fight, door: str, spelling: str) -> None:
        # By HTTP the row is written, as it is spelt, before a worker takes the first.
        as_it_was = door == "http"
        document = fight.document if as_it_was else respelt(fight.document, spelling)
        assert self._send(door, document) in ("accepted", "duplicate")
        if as_it_was:
            self._has_row.add(fight.session_id)
        self._after(door)

    @rule(fight=fights, door=doors)
    def contradict(self, fight: Fight, door: str) -> None:
        document = json.loads(json.dumps(fight.document))
        document["meta"]["winner_team"] = "red"
        assert self._send(door, document) == "conflict"
        self._journal.conflicts[fight.session_id] = 1
        self._waiting.add(fight.session_id)
        self._after(door)

    @rule()
    def settle(self) -> None:
        settle_inbox()
        self._settled()

    @rule()
    def look_for_what_was_lost(self) -> None:
        sweep()

    @rule(is_paused=st.booleans())
    def pause(self, is_paused: bool) -> None:
        mode = settlement.Mode.PAUSED if is_paused else settlement.Mode.RUNNING
        control.set_mode(mode, actor=control.command_actor(), reason=REASON)
        self._is_paused = is_paused

    @rule(fight=fights)
    def put_back(self, fight: Fight) -> None:
        sid = fight.session_id
        done = replay.replay([sid], actor=self._admin, reason=REASON)
        assert (sid in done.replayed) == (self._told[sid] is Credit.UNDER_REVIEW)
        self._reopened(done.replayed)

    @rule(fight=fights)
    def correct(self, fight: Fight) -> None:
        sid = fight.session_id
        if self._told[sid] is not Credit.UNDER_REVIEW:
            return
        better = Fight(sid, fight.finished_at, fight.shares).document
        del better["replay_log"]
        if sid not in self._journal.standing:
            correct.correct(sid, better, actor=self._admin, reason=REASON)
        self._journal.standing[sid] = Fight(sid, fight.finished_at, fight.shares)
        self._reopened(replay.replay([sid], actor=self._admin, reason=REASON).replayed)

    @rule(fight=fights)
    def void(self, fight: Fight) -> None:
        sid = fight.session_id
        done = void.void([sid], actor=self._admin, reason=REASON)
        is_open = self._told[sid] in (Credit.PENDING, Credit.UNDER_REVIEW)
        assert (sid in done.voided) == (is_open and sid in self._has_row)
        if sid in done.voided:
            self._journal.voided.add(sid)
            self._told[sid] = Credit.CANCELLED

    @rule(fight=fights)
    def undo(self, fight: Fight) -> None:
        sid = fight.session_id
        done = undoing.undo_combat(
            sid, actor=self._admin, reason=REASON, on_shortage="refuse"
        )
        assert (done.undo is not None) == (self._told[sid] is Credit.CREDITED)
        if done.undo is not None:
            self._journal.undone.add(sid)
            self._told[sid] = Credit.REVERSED

    @rule(place=places, qty=st.integers(1, 3), times=st.integers(1, 2))
    def change_inventory(self, place: int, qty: int, times: int) -> None:
        char_id = self._players[place]
        operation = {
            "op_id": f"{char_id}-{next(self._operations)}",
            "op": "add",
            "item_template_id": HERB,
            "qty": qty,
        }
        for _ in range(times):
            self._engine.change_inventory_sync(char_id, [operation])
        task_sync_state("inventory", char_id)
        self._journal.others[char_id, HERB] += qty

    @rule(target=running, place=places, xp=st.integers(0, 9))
    def start(self, place: int, xp: int) -> Any:
        char_id = self._players[place]
        fight = Fight(new_session_id(), BEGAN, {char_id: Share(xp=xp)})
        try:
            self._engine.start_combat_sync(fight.session_id, [char_id])
        except CombatInProgress:
            assert any(
                told is None and char_id in self._journal.offered[sid].shares
                for sid, told in self._told.items()
            )
            return multiple()
        assemble_belts(str(fight.session_id))
        self._journal.offer(fight)
        self._told[fight.session_id] = None
        return fight

    @rule(target=fights, fight=consumes(running), door=doors)
    def finish(self, fight: Fight, door: str) -> Fight:
        assert self._send(door, fight.document) == "accepted"
        self._accepted(fight, door)
        with pytest.raises(CombatFinished):
            self._engine.start_combat_sync(fight.session_id, list(fight.shares))
        return fight

    @rule(fight=consumes(running))
    def abandon(self, fight: Fight) -> None:
        """The sweep ends it: nothing is given, and a late result is a conflict."""
        sid = fight.session_id
        fall_silent(self._oracle.redis, sid)
        sweep()
        nothing = {char_id: Share() for char_id in fight.shares}
        self._journal.standing[sid] = Fight(sid, LONG_AGO_MS // 1000, nothing)
        self._accepted(fight, "submit")
        assert self._send("submit", fight.document) == "conflict"
        self._journal.conflicts[sid] = 1

    @invariant()
    def every_player_is_told_the_truth(self) -> None:
        for sid, credit in self._told.items():
            char_id = next(iter(self._journal.offered[sid].shares))
            answer = find_result(sid, char_id)
            state = State.ACTIVE if credit is None else State.FINISHED
            assert (answer.state, answer.credit) == (state, credit), sid

    @invariant()
    def the_ledger_is_the_balance(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.id, c.xp, c.gold, sum(l.xp_delta), sum(l.gold_delta) "
                "FROM characters c JOIN settlement_ledger l ON l.character_id = c.id "
                "WHERE c.id = ANY (%s) AND l.kind <> 'opening' GROUP BY c.id",
                [self._players],
            )
            for _, xp, gold, xp_moved, gold_moved in cursor.fetchall():
                assert (xp, gold) == (xp_moved, 1000 + gold_moved)

    @invariant()
    def each_accepted_fight_has_one_row_once_it_is_settled(self) -> None:
        rows = CombatHistory.objects.filter(pk__in=list(self._has_row))
        assert rows.count() == len(self._has_row)

    def teardown(self) -> None:
        control.set_mode(
            settlement.Mode.RUNNING, actor=control.command_actor(), reason=REASON
        )
        self._is_paused = False
        for sid in [sid for sid, told in self._told.items() if told is None]:
            self.abandon(self._journal.offered[sid])
        settle_inbox()
        self._settled()
        assert self._oracle.is_quiet()
        self._journal.accepted |= self._told.keys()
        for sid in self._journal.standing:
            row = CombatHistory.objects.get(pk=sid)
            self._journal.documents[sid] = [row.result_payload]
        assert self._oracle.violations(self._journal) == []
        assert reconcile()["findings"] == []

    def _send(self, door: str, document: dict[str, Any]) -> str:
        """What the sender is told; a task tells nothing, and so it is looked up."""
        if door == "submit":
            try:
                return str(self._engine.submit_combat_sync(document))
            except PayloadConflict:
                return str(Receipt.CONFLICT)
        if door == "http":
            return _told_by_http(document)
        sid = parse_session_id(document["session_id"])
        known = self._oracle.redis.hget(f"combat:result:{sid}", "sha256")
        settle_combat(json.dumps(document) if door == "text" else document)
        if known is None:
            return "accepted"
        is_same = identity(document) == identity(self._journal.offered[sid].document)
        return "duplicate" if is_same else "conflict"

    def _accepted(self, fight: Fight, door: str) -> None:
        sid = fight.session_id
        self._journal.accepted.add(sid)
        self._told[sid] = Credit.PENDING
        self._waiting.add(sid)
        if door == "http":
            self._has_row.add(sid)
        self._after(door)

    def _after(self, door: str) -> None:
        """A task drains a batch as well, which is all that waits here."""
        if door in ("task", "text"):
            self._settled()

    def _settled(self) -> None:
        if self._is_paused:
            return
        for sid in self._waiting:
            self._has_row.add(sid)
            if self._told[sid] is Credit.PENDING:
                failure = self._journal.settled(sid).failure
                self._told[sid] = Credit.UNDER_REVIEW if failure else Credit.CREDITED
        self._waiting.clear()

    def _reopened(self, session_ids: list[UUID]) -> None:
        for sid in session_ids:
            self._told[sid] = Credit.PENDING
            self._waiting.add(sid)


def _told_by_http(document: dict[str, Any]) -> str:
    response = api.post(document)
    if response.status_code == HTTPStatus.CONFLICT:
        return "conflict"
    return "duplicate" if api.accepted(response).duplicate else "accepted"


@pytest.fixture
def engine() -> Iterator[SyncDispatcher]:
    """Its rings are lost: the machine says when work is done."""
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    with closing(SyncDispatcher(settings.REDIS_URL, nobody, timeout=0.5)) as dispatcher:
        yield dispatcher


@pytest.mark.hypothesis
def test_no_order_of_calls_and_actions_breaks_a_promise(
    transactional_db: None,
    redis_client: redis.Redis,
    api: None,
    engine: SyncDispatcher,
) -> None:
    admin = User.objects.create_superuser("admin")
    with closing(Oracle(database_url(), settings.REDIS_URL)) as oracle:
        oracle.database.execute(
            "INSERT INTO item_templates (id, name) VALUES (%s, %s)", [HERB, HERB]
        )
        run_state_machine_as_test(
            lambda: Doors(oracle, engine, admin),  # type: ignore[arg-type]  # it is only called
            settings=hypothesis.settings(
                max_examples=examples(12),
                stateful_step_count=25,
                suppress_health_check=list(hypothesis.HealthCheck),
            ),
        )
