"""An hour of the demo's game, settled: pages look as they look to people who work."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from random import Random

from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from combat_history.models import CombatParticipant, ItemTemplate, MinuteCount
from combat_history.reading.lookup import find_result
from demo.schedule import Schedule
from demo.world import read_fighters
from persistence.worker import counts

COMBATS = 120
MINUTES = 50

BACKDATE = """
ALTER TABLE combat_history DISABLE TRIGGER USER;
UPDATE combat_history
SET settled_at = finished_at + (settled_at - received_at) + interval '4 milliseconds',
    received_at = finished_at + interval '4 milliseconds';
ALTER TABLE combat_history ENABLE TRIGGER USER;
"""
"""They were all received within a second."""


def live(settle: Callable[..., None]) -> None:
    """The same fights in every run, but for the hour they took place in.

    Some failed for an item that somebody has added to the catalogue since.
    """
    rng = Random(7)
    call_command("seed_world", verbosity=0)
    start = int(time.time()) - (MINUTES + 2) * 60
    rate = COMBATS / (MINUTES * 60)
    fights = Schedule(rng, read_fighters(), COMBATS, start=start, rate=rate)
    settle(*(fight.body for fight in fights))
    with connection.cursor() as cursor:
        cursor.execute(BACKDATE)
    for part in CombatParticipant.objects.order_by("session_id", "character_id"):
        find_result(part.session_id, part.character_id)
    counts.flush()
    ItemTemplate.objects.create(
        id="star_shard", name="Осколок упавшей звезды", name_en="Shard of a fallen star"
    )
    _spread_counts(rng)


def _spread_counts(rng: Random) -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    spread = Counter(
        (row.name, row.process, now - timedelta(minutes=rng.randint(2, MINUTES)))
        for row in MinuteCount.objects.order_by("name")
        for _ in range(row.count)
    )
    MinuteCount.objects.all().delete()
    MinuteCount.objects.bulk_create(
        MinuteCount(name=name, process=process, minute=minute, count=count)
        for (name, process, minute), count in spread.items()
    )
