"""CombatStateSaver: look up -> lock -> load -> plan -> write.

Tables: combat_history, combat_participants, combat_replay, characters, balances,
inventory, settlement_ledger, settlement_discrepancies, settlement_events,
rejected_payloads. Locks, in this order and nowhere else: known history rows by session
id, characters by id, then the keys of new history rows by session id; a character's
lock guards its inventory and its balances.

New rows are written once, with their final status, after the plan: a session that
another transaction recorded since the look-up raises ReceiptRaced, which rolls the
batch back to be run again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from persistence.contract.errors import FailureCode, ReceiptRaced
from persistence.contract.identity import identity
from persistence.contract.outcome import Amounts, summary
from persistence.contract.signing import NO_KEYS, EngineKeys
from persistence.engine.handoff import Receipt, in_the_future
from persistence.protocols import Applied, Delivery, Hook, Outcome, Saved, Verdict
from persistence.savers.combat import conflicts, load, statements, write
from persistence.savers.combat.cases import (
    Case,
    conflict,
    is_early,
    object_in,
    read_delivery,
)
from persistence.savers.combat.fingerprint import fingerprint
from persistence.savers.combat.intake import FAILED, PENDING, PROCESSED, Intake
from persistence.savers.combat.plan import plan_batch
from persistence.savers.combat.rows import Catalogue, Combat, Plan, World
from persistence.savers.combat.signed import is_unsigned, reopen, signed, unsigned
from persistence.savers.combat.write import Ending
from persistence.worker import rejected, sql, unsent
from persistence.worker.rejected import Rejected

if TYPE_CHECKING:
    from psycopg import Cursor


class CombatStateSaver:
    """Settles combats inside the transaction that the caller holds open.

    Never commits, retries or splits. Idempotent by session id: a session that is
    terminal is left as it is and reported as a duplicate. `fail_on_shortage` turns
    discrepancies into failures. `keys`: without a signature by one of them a document
    fails. `hooks` are told of what is settled, before it is committed.
    """

    def __init__(
        self,
        cursor: Cursor[sql.Row],
        *,
        fail_on_shortage: bool = False,
        keys: EngineKeys = NO_KEYS,
        hooks: Sequence[Hook] = (),
    ) -> None:
        self._cursor = cursor
        self._fail_on_shortage = fail_on_shortage
        self._keys = keys
        self._hooks = hooks

    def settle(self, batch: Sequence[Delivery]) -> list[Verdict]:
        """Settle deliveries of distinct sessions; one verdict each, in any order."""
        intake = self._receive(batch)
        self._obey_requests(intake.waiting)
        plan = self._plan(intake.cases())
        self._write(intake, plan)
        return [*intake.verdicts, *_verdicts(intake, plan)]

    def rehearse(self, case: Case) -> tuple[Plan, str | None]:
        """Plan what settling this case alone would do now; the state that was seen.

        Locks and plans as `settle` does and writes nothing; the caller rolls back.
        """
        if case.payload is None:
            return Plan(), None
        combat = _combat(case)
        catalogue = load.catalogue(self._cursor, [combat])
        world = load.locked_world(self._cursor, [combat], catalogue)
        seen = fingerprint(combat.payload, combat.revision, world, catalogue)
        return self._plan_of([combat], world, catalogue), seen

    def rehearse_all(self, cases: Sequence[Case]) -> Plan:
        """Plan what settling these one after the other would do now, as `rehearse`."""
        return self._plan(cases)

    def save(self, char_id: int) -> Saved:
        """Find results of the player that nobody handed off; the inbox settles them.

        Locks nothing and writes nothing itself: there is one way to settle.
        """
        return Saved(drain=True, unsent=unsent.of_player(char_id))

    def insert_pending(self, deliveries: Sequence[Delivery]) -> list[Case]:
        """Write receipts without effects; known sessions stay as they are.

        Returns what was written. What cannot become a row, or is not signed, is left to
        `settle`, which rejects or fails it.
        """
        return self._insert_receipts(
            case for case in self._cases(deliveries) if _receipt(case)[1] is None
        )

    def _cases(self, deliveries: Sequence[Delivery]) -> Iterator[Case]:
        now = self._clock(deliveries)
        for delivery in deliveries:
            _, case = self._read(delivery, now)
            if isinstance(case, Case):
                yield case

    def _insert_receipts(self, cases: Iterable[Case]) -> list[Case]:
        cases = list(cases)
        endings = {case.session_id: _receipt(case) for case in cases}
        recorded = self._insert_history(
            write.history_row(case, endings[case.session_id]) for case in cases
        )
        # Only of those: another document's participants are not this session's.
        new = [case for case in cases if case.session_id in recorded]
        told = write.events(new, endings, Plan())
        sql.run(self._cursor.connection, [*write.participants(new), told])
        return new

    def receive(self, delivery: Delivery, *, is_checked: bool = False) -> Receipt:
        """A durable receipt where Redis cannot give one: PostgreSQL is the arbiter.

        A known session keeps its document; another one is recorded as a conflict. Of
        one that is checked, PayloadInvalid is raised where its fight has not ended yet;
        the caller rolls back.
        """
        for case in self._insert_receipts(self._cases([delivery])):
            if is_checked and is_early(case.document, case.received_at):
                raise in_the_future()
            return Receipt.ACCEPTED
        known = self.judge(delivery)
        assert known is not None  # or it would have been inserted
        return known

    def judge(self, delivery: Delivery) -> Receipt | None:
        """The answer of PostgreSQL to a document; None where it has no such session.

        Another document than the session's is recorded as a conflict.
        """
        row = self._known([delivery]).get(delivery.session_id)
        if row is None:
            return None
        sha256 = row[2] or _hash_of(row)
        others = conflicts.beside_row(self._cursor, delivery, sha256)
        rejected.keep(self._cursor, *others)
        return Receipt.CONFLICT if others else Receipt.DUPLICATE

    def keep_conflict(self, delivery: Delivery) -> None:
        """Keep a document for review whose session has another one already."""
        other = conflict(delivery.session_id, delivery.sha256, delivery.raw)
        rejected.keep(self._cursor, other)

    def _clock(self, deliveries: Sequence[Delivery]) -> datetime:
        """The time of a receipt that no door has told: PostgreSQL's."""
        told = [d.accepted_at for d in deliveries if d.accepted_at is not None]
        if told and len(told) == len(deliveries):
            return max(told)  # nobody will ask
        ((now,),) = sql.fetch(self._cursor, statements.READ_CLOCK, [])
        return cast("datetime", now)

    def _receive(self, batch: Sequence[Delivery]) -> Intake:
        now = self._clock(batch)
        known = self._known(batch)
        intake = Intake()
        for delivery in batch:
            row = known.get(delivery.session_id)
            if row is None:
                first, case = self._read(delivery, now)
                intake.rejected += conflicts.beside_first(first)
                intake.add_new(first, case)
                continue
            sha256 = row[2] or _hash_of(row)
            others = conflicts.beside_row(self._cursor, delivery, sha256)
            intake.add_known(delivery, row, sha256, others)
        return intake

    def _known(self, batch: Sequence[Delivery]) -> dict[UUID, Sequence[Any]]:
        """The locked rows of these sessions.

        One that failed for want of a signature waits again where its delivery has one.
        """
        ids = sql.array(delivery.session_id for delivery in batch)
        known = self._locked(ids)
        late = [
            proven
            for delivery in batch
            if (row := known.get(delivery.session_id)) and is_unsigned(row)
            if (proven := signed(delivery, self._keys)) and proven.raw is not None
        ]
        for delivery in late:
            reopen(self._cursor, delivery, known[delivery.session_id])
        return self._locked(ids) if late else known

    def _locked(self, ids: str) -> dict[UUID, Sequence[Any]]:
        rows = sql.fetch(self._cursor, statements.LOCK_HISTORY, [ids])
        return {row[0]: row for row in rows}

    def _read(
        self, delivery: Delivery, now: datetime
    ) -> tuple[Delivery, Case | Rejected]:
        """A delivery whose session has no row, by its signed document if it has one."""
        proven = signed(delivery, self._keys)
        case = read_delivery(proven or delivery, now)
        if proven is None and isinstance(case, Case):
            case = unsigned(case)
        return proven or delivery, case

    def _obey_requests(self, waiting: Sequence[Case]) -> None:
        """Give each replay the terms that a person has set for it."""
        if not waiting:
            return
        ids = sql.array(case.session_id for case in waiting)
        requests = {
            row[0]: row
            for row in sql.fetch(self._cursor, statements.LOAD_REQUESTS, [ids])
        }
        for case in waiting:
            if case.session_id in requests:
                _, case.fail_on_shortage, case.fingerprint = requests[case.session_id]

    def _plan(self, cases: Sequence[Case]) -> Plan:
        combats = [_combat(case) for case in cases if case.payload is not None]
        if not combats:
            return Plan()
        catalogue = load.catalogue(self._cursor, combats)
        world = load.locked_world(self._cursor, combats, catalogue)
        return self._plan_of(combats, world, catalogue)

    def _plan_of(
        self, combats: Sequence[Combat], world: World, catalogue: Catalogue
    ) -> Plan:
        return plan_batch(
            combats,
            world,
            catalogue,
            load.reserved_ids(self._cursor, combats, catalogue),
            rules=load.rules(self._cursor, combats, catalogue),
            fail_on_shortage=self._fail_on_shortage,
        )

    def _write(self, intake: Intake, plan: Plan) -> None:
        endings = {case.session_id: _ending(case, plan) for case in intake.cases()}
        recorded = self._insert_history(
            write.history_row(case, endings[case.session_id]) for case in intake.fresh
        )
        # Recorded by somebody else since: what was planned for it may be settled.
        if len(recorded) != len(intake.fresh):
            ids = {case.session_id for case in intake.fresh} - recorded
            raise ReceiptRaced(sorted(map(str, ids)))
        sql.run(
            self._cursor.connection,
            [
                *write.participants(intake.cases()),
                write.finish_pending(intake.waiting, endings),
                write.finish_requests(intake.waiting, endings),
                *write.effects(plan),
                write.events(intake.cases(), endings, plan),
                write.released_belts(intake.cases(), endings),
                rejected.record(intake.rejected),
            ],
        )
        self._tell_hooks(intake, endings)

    def _tell_hooks(self, intake: Intake, endings: Mapping[UUID, Ending]) -> None:
        if not self._hooks:
            return
        applied = [
            Applied(case.session_id, case.revision, case.document)
            for case in intake.cases()
            if endings[case.session_id][0] == PROCESSED
        ]
        for hook in self._hooks if applied else ():
            hook.settled(self._cursor, applied)

    def _insert_history(self, rows: Iterable[Sequence[Any]]) -> set[UUID]:
        parameters = sql.columns(list(rows), write.HISTORY_BINARY)
        if not parameters:
            return set()
        recorded = sql.fetch(self._cursor, statements.INSERT_HISTORY, parameters)
        return {row[0] for row in recorded}


def _hash_of(row: Sequence[Any]) -> str:
    """The identity of a row that was written without one (three-column INSERT)."""
    return identity(object_in(row[5].encode()))


def _combat(case: Case) -> Combat:
    assert case.payload is not None
    return Combat(
        case.session_id,
        case.finished_at,
        case.payload,
        case.revision,
        case.fail_on_shortage,
        case.fingerprint,
        case.is_approved,
        case.roster,
    )


def _receipt(case: Case) -> Ending:
    """A pending row is of a signed document: nobody asks again."""
    if case.failure and case.failure.code == FailureCode.BAD_SIGNATURE:
        return FAILED, case.failure
    return PENDING, None


def _ending(case: Case, plan: Plan) -> Ending:
    failure = case.failure or plan.failures.get(case.session_id)
    return (FAILED, failure) if failure else (PROCESSED, None)


def _verdicts(intake: Intake, plan: Plan) -> Iterator[Verdict]:
    moved: defaultdict[UUID, dict[str, Amounts]] = defaultdict(dict)
    for line in plan.ledger:
        amounts = Amounts(gold=line.gold_delta, balances=line.balances)
        moved[line.session_id][str(line.character_id)] = amounts
    for case in intake.cases():
        _, failure = _ending(case, plan)
        if failure is not None:
            yield Verdict(
                case.session_id,
                Outcome.FAILED,
                failure.code,
                failure.detail,
                sha256=case.sha256,
            )
        else:
            yield Verdict(
                case.session_id,
                Outcome.PROCESSED,
                tombstone=summary(case.document, moved[case.session_id], case.revision),
                sha256=case.sha256,
            )
