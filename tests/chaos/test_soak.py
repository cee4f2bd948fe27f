"""Seeded storms: nothing lost, nothing doubled, by the senders' own journal."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos.nemesis import Fault, Nemesis
from tests.chaos.rig import Cables, ServerPair
from tests.chaos.soak import reconcile, soak

logger = logging.getLogger(__name__)

FIXED_SEED = 4242
FAULTS = 14

# Kills are the test here: a document that happens to be in the hands of six killed
# workers is none of the poisonous ones.
PATIENT = {
    "SETTLEMENT_MAX_ATTEMPTS": "100",
    # A cold shutdown lasts this long, an unacknowledged message four times.
    "SETTLEMENT_HARD_LIMIT_SECONDS": "3",
    "SETTLEMENT_DRAIN_SECONDS": "1",
    "SETTLEMENT_LEASE_MS": "1000",
}


def _random_seed() -> int:
    return int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))


@pytest.mark.parametrize(
    ("seed", "strikes", "submissions"),
    [(FIXED_SEED, FAULTS, 200), (_random_seed(), FAULTS // 2, 80)],
    ids=["fixed", "random"],
)
def test_mixed_faults_lose_and_double_nothing(
    pair: ServerPair,
    cables: Cables,
    tmp_path: Path,
    seed: int,
    strikes: int,
    submissions: int,
) -> None:
    logger.info("CHAOS_SEED=%d", seed)
    env = pair.environment(
        DATABASE_URL=pair.database_url(cables.postgres.port),
        REDIS_URL=pair.redis_url(cables.redis.port),
        CELERY_BROKER_URL=pair.redis_url(cables.broker.port),
        **PATIENT,
    )

    def plan(nemesis: Nemesis) -> Sequence[Fault]:
        faults: list[Fault] = [
            nemesis.kill_group,
            nemesis.kill_beat,
            nemesis.shut_down_warmly,
            nemesis.shut_down_coldly,
            nemesis.freeze,
            nemesis.terminate_backends,
            nemesis.kill_redis,
            nemesis.kill_postgres,
            lambda: nemesis.cut(cables.broker),
            lambda: nemesis.cut(cables.postgres),
            lambda: nemesis.pause(cables.redis),
            lambda: nemesis.lose_reply(cables.postgres, b"COMMIT"),
            lambda: nemesis.lose_reply(cables.broker, b"BRPOP"),
            lambda: nemesis.lose_reply(cables.redis, b"EVALSHA"),
        ]
        return random.Random(seed).sample(faults, strikes)

    report = soak(
        pair,
        tmp_path,
        seed,
        submissions=submissions,
        plan=plan,
        env=env,
        submit_redis_url=pair.redis_url(cables.redis.port),
    )
    logger.info("%s", report)
    assert report.struck.total() == strikes


def test_kills_of_everybody_lose_and_double_nothing(
    pair: ServerPair, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_long = request.config.getoption("--soak", default=False)
    rounds, submissions = (10, 2000) if is_long else (2, 300)

    def plan(nemesis: Nemesis) -> Sequence[Fault]:
        return [
            nemesis.kill_child_in_transaction,
            nemesis.kill_beat,
            nemesis.kill_parent_in_transaction,
            nemesis.kill_child,
        ] * (rounds // 2) + [
            nemesis.kill_child_in_transaction,
            nemesis.kill_parent,
            nemesis.kill_child_in_transaction,
            nemesis.kill_beat,
        ] * (rounds // 2)

    report = soak(
        pair,
        tmp_path,
        FIXED_SEED,
        submissions=submissions,
        plan=plan,
        env=pair.environment(**PATIENT),
    )
    logger.info("%s", report)
    kills = report.struck.total()
    in_transaction = sum(n for name, n in report.struck.items() if "in tr" in name)
    assert kills == 4 * rounds
    assert in_transaction * 2 == kills
    audit = reconcile(pair)
    assert audit.returncode == 0, audit.stdout + audit.stderr
