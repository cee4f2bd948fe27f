"""Every reading page of the admin at a million combats: time and number of queries.

`python -m benchmarks.admin_pages [--combats N]` makes a database of its own, fills it
set-based and asks for each page as a browser would, through the whole of Django.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid4

from benchmarks import admin_world, world
from benchmarks.errors import BenchmarkError
from benchmarks.servers import WORLD_DATABASE, Servers, opened

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

ROUNDS = 7
LIMIT_MS = 300

ADMIN = "/admin/combat_history/"
LIST = f"{ADMIN}combathistory/"
PLAYER = f"{ADMIN}character/"


class Page(NamedTuple):
    name: str
    url: str


class Timing(NamedTuple):
    page: Page
    median_ms: float
    slowest_ms: float
    queries: int
    kilobytes: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.admin_pages")
    parser.add_argument("--combats", type=int, default=1_000_000)
    options = parser.parse_args()
    try:
        with opened() as servers:
            timings = _measure(servers, options.combats)
    except BenchmarkError as error:
        sys.exit(f"benchmark failed: {error}")
    print(_table(timings, options.combats))
    sys.exit(any(timing.slowest_ms > LIMIT_MS for timing in timings))


def _measure(servers: Servers, combats: int) -> list[Timing]:
    started = time.monotonic()
    world.build(servers)
    with servers.connect(WORLD_DATABASE) as connection:
        admin_world.fill(connection, combats)
    print(f"filled in {time.monotonic() - started:.0f} s", file=sys.stderr)
    os.environ.update(servers.environment(WORLD_DATABASE))
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.db import connections
    from django.test import Client

    try:
        operator = User.objects.create_superuser("operator")
        pages = [*_pages(), *_pages_of_actions(operator)]
        client = Client(SERVER_NAME="localhost", headers={"accept-language": "ru"})
        client.force_login(operator)
        return [_timed(client, page) for page in pages]
    finally:
        connections.close_all()


def _pages() -> list[Page]:
    from combat_history.models import CombatHistory, CombatReplay
    from persistence.contract.fight_log import pack
    from persistence.contract.ids import short_id

    def newest(status: str) -> CombatHistory:
        rows = CombatHistory.objects.filter(settlement_status=status)
        return rows.order_by("-received_at")[0]

    processed, failed = newest("processed"), newest("failed")
    oldest = CombatHistory.objects.order_by("finished_at")[200]
    turns = [
        {"turn": n, "actor": "1", "action": "hit", "hp": {"1": 500 - n}}
        for n in range(200)
    ]
    CombatReplay.objects.create(session_id=processed.pk, data=pack(turns))
    middle = oldest.finished_at.isoformat().replace("+", "%2B")
    below = f"{middle}~{short_id(oldest.pk)}"
    veteran = f"{PLAYER}{admin_world.VETERAN}/change/"
    return [
        *_pages_of_history(processed.pk, below),
        Page("combat, processed", f"{LIST}{processed.pk}/change/"),
        Page("combat, failed", f"{LIST}{failed.pk}/change/"),
        Page("fight log", f"{LIST}{processed.pk}/fight-log/"),
        Page("characters, by name", f"{PLAYER}?q=hero 77"),
        Page("player with 50 000 fights", veteran),
        Page(
            "player, older fights",
            f"{veteran}?fights_below={below}",
        ),
        Page("player of few fights", f"{PLAYER}777/change/"),
        *(
            Page(f"dashboard, {span}", f"/admin/?range={span}")
            for span in ("hour", "day", "week")
        ),
        Page("ledger of a player", f"{ADMIN}ledgerline/?q=1"),
        Page("discrepancies", f"{ADMIN}settlementdiscrepancy/"),
        Page("rejected payloads", f"{ADMIN}rejectedpayload/"),
        Page("parked operations", f"{ADMIN}parkedoperation/"),
        Page("audit", f"{ADMIN}auditentry/"),
        Page("audit of a combat", f"{ADMIN}auditentry/?q={oldest.pk}"),
        Page("failed settlements", f"{LIST}failures/"),
        Page("a group of failures", f"{LIST}failures/group/?code=poison"),
        Page("a group to be replayed", f"{LIST}replay/batch/?code=poison"),
        Page("economy", f"{LIST}economy/"),
        Page("pause and resume", f"{ADMIN}settlementcontrol/"),
        Page("export of the history", f"{LIST}export/"),
    ]


def _pages_of_history(known: UUID, below: str) -> list[Page]:
    return [
        Page("history", LIST),
        Page("history, last page by number", f"{LIST}?p=200"),
        Page("history, below the oldest", f"{LIST}?older={below}"),
        *(
            Page(f"history, {status}", f"{LIST}?status={status}")
            for status in ("pending", "processed", "failed", "voided", "undone")
        ),
        Page("history, by cause", f"{LIST}?failure=poison"),
        Page("history, rare cause", f"{LIST}?failure=shortage"),
        *(
            Page(f"history, ended by {reason}", f"{LIST}?end={reason}")
            for reason in ("victory", "abandoned")
        ),
        Page("history, abandoned and failed", f"{LIST}?end=abandoned&status=failed"),
        Page("history, by id", f"{LIST}?q={known}"),
        Page("history, of a veteran", f"{LIST}?q={admin_world.VETERAN}"),
        Page("history, by a whole name", f"{LIST}?q=Hero 1"),
        Page("history, by the beginning of a name", f"{LIST}?q=hero 77"),
    ]


def _pages_of_actions(operator: User) -> list[Page]:
    from combat_history.actions import batches
    from combat_history.models import CombatHistory, Status

    failed = CombatHistory.objects.filter(settlement_status=Status.FAILED)
    one = failed.order_by("-received_at")[0].pk
    settled = CombatHistory.objects.filter(settlement_status=Status.PROCESSED)
    batch_id = uuid4()
    batches.create(
        failed.filter(failure_code="out_of_range"),
        {"kind": "list", "list": ""},
        batch_id=batch_id,
        actor=operator,
        reason="a batch to look at",
    )
    return [
        *(
            Page(f"{verb} a failed one", f"{LIST}{one}/{verb}/")
            for verb in ("preview", "correct", "void")
        ),
        Page("undo", f"{LIST}{settled.order_by('-received_at')[0].pk}/undo/"),
        Page("replay of a group", f"{LIST}replay/batch/?code=poison"),
        Page("replay of all that failed", f"{LIST}replay/batch/?list=status%3Dfailed"),
        Page("a replay batch", f"{ADMIN}replaybatch/{batch_id}/change/"),
        Page("replay batches", f"{ADMIN}replaybatch/"),
    ]


def _timed(client: Client, page: Page) -> Timing:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        response = client.get(page.url, secure=True)
    if response.status_code != 200:
        raise BenchmarkError(f"{page.name}: {page.url} answered {response.status_code}")
    # The next request forgets them.
    count = len(queries)
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        client.get(page.url, secure=True)
        took.append(1000 * (time.perf_counter() - began))
    return Timing(
        page,
        statistics.median(took),
        max(took),
        count,
        len(response.content) / 1024,
    )


def _table(timings: list[Timing], combats: int) -> str:
    lines = [
        f"Pages of the admin at {combats:,} combats; limit {LIMIT_MS} ms",
        f"{'page':<38} {'median':>8} {'slowest':>8} {'queries':>8} {'KiB':>6}",
    ]
    lines += [
        f"{t.page.name:<38} {t.median_ms:>5.0f} ms {t.slowest_ms:>5.0f} ms "
        f"{t.queries:>8} {t.kilobytes:>6.0f}"
        for t in timings
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
