"""What an operation costs beside the bare writes: `python -m benchmarks.operations`.

A trade of two players, in this process and over one connection each, in turn with the
same writes in one transaction that checks, locks and plans nothing: statement by
statement, as a program would send them, and all in one pipeline.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import count
from uuid import uuid4

import django
import psycopg

from benchmarks import world
from benchmarks.figures import Percentiles, percentiles
from benchmarks.servers import Servers, opened
from benchmarks.world import PELT, POTION, Kit, row_id

ROUNDS = 1500
WARM_UP = 100
CHARACTERS = 6 * ROUNDS + 10

Statement = tuple[str, list[object]]


def main() -> None:
    with opened() as servers:
        world.build(servers, CHARACTERS)
        world.copy(servers)
        os.environ.update(servers.environment())
        os.environ["DJANGO_SETTINGS_MODULE"] = "settlement_project.settings"
        django.setup()
        _report(_measure(servers))


def _measure(servers: Servers) -> dict[str, Percentiles]:
    # Django has to be set up first.
    from combat_history.actions.operate import operate
    from persistence.contract.operate import Operation

    seconds: dict[str, list[float]] = {
        "operation": [],
        "statements": [],
        "pipeline": [],
    }
    pairs = _pairs()
    with servers.connect() as connection:
        for _ in range(ROUNDS):
            asked = Operation.read(_trade(*next(pairs)))
            plain, together = _writes(*next(pairs)), _writes(*next(pairs))
            calls: dict[str, Callable[[], object]] = {
                "operation": lambda a=asked: operate(a, "bench"),  # type: ignore[misc]
                "statements": lambda s=plain: _run(connection, s),  # type: ignore[misc]
                "pipeline": lambda s=together: _run_together(connection, s),  # type: ignore[misc]
            }
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - began)
    return {name: percentiles(found[WARM_UP:]) for name, found in seconds.items()}


def _report(found: dict[str, Percentiles]) -> None:
    for name, one in found.items():
        times = found["operation"].p50 / one.p50
        print(f"{name:<12}p50 {one.p50:.2f} ms  p95 {one.p95:.2f} ms  x{times:.2f}")


def _pairs() -> Iterator[tuple[int, int]]:
    for number in count():
        first = 2 * number % CHARACTERS + 1
        yield first, first + 1


def _trade(seller: int, buyer: int) -> dict[str, object]:
    def side(owner: int, kit: Kit, gains: str, gold: int) -> dict[str, object]:
        return {
            "gold_gained": gold,
            "items_consumed": [{"inventory_id": row_id(owner, kit), "qty": 1}],
            "items_gained": [{"item_template_id": gains, "qty": 1}],
        }

    return {
        "op_id": str(uuid4()),
        "reason": "Trade",
        "characters": {
            str(seller): side(seller, Kit.POTIONS, PELT, 1),
            str(buyer): side(buyer, Kit.PELTS, POTION, -1),
        },
    }


def _writes(seller: int, buyer: int) -> list[Statement]:
    """What such a trade writes: potions on a belt do not take new ones."""
    id_, asked = uuid4(), '{"characters": {}}'
    found: list[Statement] = [
        (
            "INSERT INTO operations (op_id, id, reason, caller, sha256, document,"
            " answer) VALUES (%s, %s, 'Trade', 'bench', '', %s, %s)",
            [str(id_), id_, asked, asked],
        )
    ]
    change = "UPDATE inventory SET quantity = quantity + %s WHERE id = %s"
    for owner, gold in ((seller, 1), (buyer, -1)):
        found += [
            ("UPDATE characters SET gold = gold + %s WHERE id = %s", [gold, owner]),
            (
                "INSERT INTO settlement_ledger (session_id, character_id, kind,"
                " xp_delta, gold_delta, xp_after, gold_after, items)"
                " VALUES (%s, %s, 'operation', 0, %s, 0, 0, %s)",
                [id_, owner, gold, "[]"],
            ),
        ]
    return [
        *found,
        (change, [-1, row_id(seller, Kit.POTIONS)]),
        (change, [1, row_id(seller, Kit.PELTS)]),
        (change, [-1, row_id(buyer, Kit.PELTS)]),
        (
            "INSERT INTO inventory (character_id, item_template_id, quantity,"
            " origin_session_id) VALUES (%s, %s, 1, %s)",
            [buyer, POTION, id_],
        ),
    ]


def _run(connection: psycopg.Connection, writes: list[Statement]) -> None:
    with connection.transaction():
        for statement, parameters in writes:
            connection.execute(statement, parameters)


def _run_together(connection: psycopg.Connection, writes: list[Statement]) -> None:
    with connection.pipeline(), connection.transaction():
        for statement, parameters in writes:
            connection.execute(statement, parameters)


if __name__ == "__main__":
    main()
