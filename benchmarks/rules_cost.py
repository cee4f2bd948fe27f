"""What review rules and signatures cost the drain: CPU a combat, in turns.

`python -m benchmarks.rules_cost`. One process settles batch after batch of one backlog,
each batch under the next of the kinds below, in another order every round. Counted is
the CPU of the process and of its PostgreSQL backend, which a busy machine changes less
than it changes the clock. Claim and effects in Redis are the same for all.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from statistics import median

import django

from benchmarks import backlog, world
from benchmarks.backlog import Backlog
from benchmarks.servers import Servers, opened

BATCH = 100
ROUNDS = 40
WARM_UP = 5
CHARACTERS = 4_000

FIGHT = [("xp", "fight", ""), ("gold", "fight", ""), ("items", "fight", "")] * 2
DAY = [("xp", "day", ""), ("gold", "day", ""), ("items", "day", "")]

KINDS: dict[str, tuple[Sequence[tuple[str, str, str]], bool]] = {
    "without": ([], False),
    "six rules of a fight": (FIGHT, False),
    "and signatures": (FIGHT, True),
    "and three rules of a day": (FIGHT + DAY, True),
}
"""The rules that are on, and whether documents are signed."""


def main() -> None:
    with opened() as servers:
        world.build(servers, CHARACTERS)
        world.copy(servers)
        os.environ.update(servers.environment())
        django.setup()
        documents = backlog.generate(
            (ROUNDS + WARM_UP) * len(KINDS) * BATCH, "rules", CHARACTERS
        )
        spent = _measured(servers, documents)
    base = spent["without"]
    for kind, each in spent.items():
        ratio = median(one / other for one, other in zip(base, each, strict=True))
        print(f"{kind:26} {median(each):6.0f} us CPU a combat, speed x {ratio:.3f}")


def _measured(servers: Servers, documents: Backlog) -> dict[str, list[float]]:
    """Microseconds of CPU a combat, by kind and round."""
    batches = _batches(documents)
    spent: defaultdict[str, list[float]] = defaultdict(list)
    dice = random.Random(1)
    for number in range(WARM_UP + ROUNDS):
        for kind in dice.sample(list(KINDS), len(KINDS)):
            rules, is_signed = KINDS[kind]
            _switch_on(servers, rules)
            cost = _settled(next(batches), is_signed)
            if number >= WARM_UP:
                spent[kind].append(cost * 1e6 / BATCH)
    return {kind: spent[kind] for kind in KINDS}


def _batches(documents: Backlog) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(documents), BATCH):
        yield documents.raws[at : at + BATCH]


def _switch_on(servers: Servers, rules: Sequence[tuple[str, str, str]]) -> None:
    with servers.connect() as connection:
        connection.execute("DELETE FROM review_rules")
        for rule in rules:
            connection.execute(
                "INSERT INTO review_rules (amount, span, item_template_id, "
                '"limit", is_on) VALUES (%s, %s, %s, 1000000, true)',
                rule,
            )


def _settled(raws: Sequence[bytes], is_signed: bool) -> float:
    """Seconds of CPU, here and in PostgreSQL."""
    from django.db import connection

    from persistence.contract.signing import NO_KEYS, EngineKeys
    from persistence.engine.handoff import unchecked
    from persistence.protocols import Delivery
    from persistence.savers.combat_saver import CombatStateSaver
    from persistence.worker.transactions import open_cursor

    keys = EngineKeys({"a": b"a secret of the benchmark, long enough"})
    now = datetime.now(UTC)
    deliveries = []
    for raw in raws:
        handoff = unchecked(raw)
        signature = keys.sign(raw) if is_signed else ""
        deliveries.append(
            Delivery(handoff.session_id, raw, handoff.sha256, now, signature or None)
        )
    connection.ensure_connection()
    backend = connection.connection.info.backend_pid
    before = time.process_time() + _cpu_of(backend)
    with open_cursor() as cursor:
        saver = CombatStateSaver(cursor, keys=keys if is_signed else NO_KEYS)
        verdicts = saver.settle(deliveries)
    spent = time.process_time() + _cpu_of(backend) - before
    assert {str(verdict.outcome) for verdict in verdicts} == {"processed"}
    return spent


def _cpu_of(pid: int) -> float:
    """In nanoseconds, where a batch takes one or two of the ticks that `cpu` counts."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


if __name__ == "__main__":
    main()
