"""The pure half of saving an inventory: (requests, locked rows) -> changes.

No I/O, no clock, no globals. Operations apply in the order of the list. One that cannot
is parked, and holds up only later ones that need what it touches: the same inventory
row, the row it would have made, or, where pieces of a template are missing, the pieces
it would have added. Parked ones of earlier saves hold up likewise. A retry goes before
the list, and what it had held up follows it; an admin's correction goes behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from persistence.contract.errors import ParkCode
from persistence.contract.operations import MADE_BY, Operation, Remove, named_rows
from persistence.savers.inventory.bag import Bag, Refused
from persistence.savers.inventory.requests import Claim, Request, row_claim

MISSING = frozenset({ParkCode.ITEM_SHORTAGE, ParkCode.UNKNOWN_ITEM})
"""What a parked `add` of the template may still bring."""


@dataclass(frozen=True, slots=True)
class Applied:
    """An operation that was applied: its identity, and the row it made."""

    sha256: str
    inventory_id: int | None


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A parked operation that still waits. `is_correction`: behind the list."""

    request: Request
    blocked_by: str | None
    is_requested: bool
    is_correction: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """The operations of this player that were seen before.

    `discarded`: identities by key. `open`: in the order in which they were parked.
    """

    applied: Mapping[str, Applied]
    discarded: Mapping[str, str] = field(default_factory=dict)
    open: Sequence[OpenRequest] = ()


@dataclass(frozen=True, slots=True)
class ParkedRequest:
    request: Request
    key: str
    code: ParkCode
    detail: str
    blocked_by: str | None = None


@dataclass(slots=True)
class InventoryPlan:
    """`applied` by op_id, `parked` and `resolved` by key."""

    applied: dict[str, Applied] = field(default_factory=dict)
    parked: dict[str, ParkedRequest] = field(default_factory=dict)
    resolved: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def plan_operations(
    requests: Sequence[Request], known: Known, bag: Bag | None, prefix: str
) -> InventoryPlan:
    """Plan what `requests` do to `bag`, which is brought forward in place.

    No `bag`: there is no such character. `prefix` and an op_id are the key under which
    it is applied.
    """
    run = _Run(known, bag, prefix)
    run.retry(waiting for waiting in known.open if not waiting.is_correction)
    for request in requests:
        run.take(request)
    run.retry(waiting for waiting in known.open if waiting.is_correction)
    return run.plan


class _Run:
    def __init__(self, known: Known, bag: Bag | None, prefix: str) -> None:
        self.plan = InventoryPlan()
        self.known = known
        self.bag = bag
        self.prefix = prefix
        self.applied = dict(known.applied)
        # Discarded ones count as seen: an engine that sends one again must not bring
        # back what a person has decided to drop.
        self.parked = {**known.discarded}
        for waiting in known.open:
            self.parked[waiting.request.key] = waiting.request.sha256
        self.waiting = {waiting.request.key for waiting in known.open}
        self.claims: dict[Claim, tuple[int, str]] = {}
        """What is held up: the place and the key of the first that holds it."""

        self.places = 0
        if bag is not None:
            bag.made |= {k: done.inventory_id for k, done in known.applied.items()}

    def retry(self, parked: Iterable[OpenRequest]) -> None:
        """Try those asked for, and behind each that is applied those it held up."""
        resolved: set[str | None] = set()
        for waiting in parked:
            # In the order in which they were parked: what was held up by one of them
            # stands behind it, so that one pass is enough.
            request = waiting.request
            if not waiting.is_requested and waiting.blocked_by not in resolved:
                self._claim(request, request.key)
            elif self._try(request, request.key, is_retry=True):
                self.waiting.discard(request.key)
                resolved.add(request.key)
                self.plan.resolved.append(request.key)
                self.plan.counts["retried"] += 1

    def take(self, request: Request) -> None:
        """An element of the list."""
        if request.code is ParkCode.BAD_SIGNATURE:
            # Anybody's: it takes no name and holds nothing up.
            key = request.second_key()
            parked = ParkedRequest(request, key, request.code, request.fault)
            self.plan.parked[key] = parked
            self.plan.counts["parked"] += 1
        elif self.is_seen(request):
            self.plan.counts["seen"] += 1
        else:
            key = request.second_key() if self._is_taken(request) else request.key
            self._try(request, key)

    def is_seen(self, request: Request) -> bool:
        # Without an op_id its bytes are its name, and only a parked one has left a
        # trace.
        if request.op_id is None:
            return request.key in self.parked
        done = self.applied.get(request.op_id)
        return (
            (done is not None and done.sha256 == request.sha256)
            or self.parked.get(request.key) == request.sha256
            or request.second_key() in self.parked
        )

    def _is_taken(self, request: Request) -> bool:
        """Whether its op_id names another operation."""
        return request.op_id is not None and (
            request.op_id in self.applied or request.key in self.parked
        )

    def _try(self, request: Request, key: str, *, is_retry: bool = False) -> bool:
        """Whether it is applied now; otherwise it is parked under the key."""
        try:
            self._apply(request, key, is_retry=is_retry)
        except _Blocked as blocked:
            detail = f"waits for operation {blocked.key}"
            self._park(request, key, ParkCode.BLOCKED, detail, blocked.key)
        except Refused as refused:
            self._park(request, key, refused.code, refused.detail)
        else:
            return True
        return False

    def _apply(self, request: Request, key: str, *, is_retry: bool) -> None:
        operation = request.operation
        if operation is None:
            raise Refused(request.code, request.fault)
        if self.bag is None:
            raise Refused(ParkCode.UNKNOWN_CHARACTER, "there is no such character")
        op_id = operation.op_id
        done = self.applied.get(op_id)
        if done is not None and done.sha256 == request.sha256:
            return
        # A retry may take the name of an operation that was discarded.
        is_free = is_retry and op_id not in self.waiting
        if done is not None or not (key == op_id or is_free):
            raise Refused(
                ParkCode.OP_ID_REUSED, f"another operation is known as {op_id!r}"
            )
        self._require_unclaimed(_row_claims(operation, self.bag))
        made = self._change(self.bag, operation)
        self.applied[op_id] = Applied(request.sha256, made)
        self.plan.applied[op_id] = self.applied[op_id]
        self.plan.counts["applied"] += 1
        # Others named the row by the operation that was to make it. It has an id now,
        # and whoever names it by that id waits for the same.
        if made is not None and ("op", op_id) in self.claims:
            self.claims.setdefault(("row", made), self.claims["op", op_id])

    def _change(self, bag: Bag, operation: Operation) -> int | None:
        try:
            return bag.apply(operation, self.prefix + operation.op_id)
        except Refused as refused:
            # Too few pieces, and an `add` of that kind is parked: the shortage may be
            # of its making, so this one waits behind it instead of failing on its own.
            if refused.code in MISSING and isinstance(operation, Remove):
                template_id = operation.item_template_id
                self._require_unclaimed([("stack", template_id)] if template_id else [])
            raise

    def _require_unclaimed(self, needs: Sequence[Claim]) -> None:
        held = [self.claims[need] for need in needs if need in self.claims]
        # The first that was parked: the others wait for it, too, and follow its retry.
        if held:
            raise _Blocked(min(held)[1])

    def _park(
        self,
        request: Request,
        key: str,
        code: ParkCode,
        detail: str,
        blocked_by: str | None = None,
    ) -> None:
        self.plan.parked[key] = ParkedRequest(request, key, code, detail, blocked_by)
        self.plan.counts["parked"] += 1
        self.parked[key] = request.sha256
        self.waiting.add(key)
        self._claim(request, key)

    def _claim(self, request: Request, key: str) -> None:
        self.places += 1
        for claim in request.claims(key):
            self.claims.setdefault(claim, (self.places, key))
            kind, name = claim
            done = self.applied.get(str(name)) if kind == "op" else None
            if done is not None and done.inventory_id is not None:
                row: Claim = ("row", done.inventory_id)
                self.claims.setdefault(row, (self.places, key))


def _row_claims(operation: Operation, bag: Bag) -> list[Claim]:
    """The rows that an operation needs, under every name they go by."""
    needs: list[Claim] = []
    for reference in named_rows(operation):
        if (claim := row_claim(reference)) is not None:
            needs.append(claim)
        if isinstance(reference, str):
            made = bag.made.get(reference.removeprefix(MADE_BY))
            if made is not None:
                needs.append(("row", made))
    return needs


class _Blocked(Exception):
    """The operation needs what a parked one touches."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key
