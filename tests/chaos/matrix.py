"""Which test stands for which cell of the fault matrix and for which acceptance test.

A cell is a point in the life of a combat and a kind of fault. Each is played by
`test_fault_matrix.py` under its own name, or a sentence says why it cannot be.
`tests/unit/test_matrix.py` compares this page with the tests that exist.
"""

from __future__ import annotations

import random

POINTS = {
    "P0": "before the hand-off",
    "P1": "the hand-off is applied, its answer is lost",
    "P2": "recorded, before the ring",
    "P3": "a message is published, the answer is lost",
    "P4": "the message is in the queue",
    "P5": "popped by a worker, not yet held as unacknowledged",
    "P6": "unacknowledged, before the transaction",
    "P7": "inside the transaction, with locks held",
    "P8": "COMMIT is sent, its answer is lost",
    "P9": "committed, before the effects",
    "P10": "the effects are applied, the answer is lost",
    "P11": "before the message is acknowledged",
    "P12": "after the message is acknowledged",
    "P13": "inside a sweep",
    "P14": "inside a person's replay",
    "P15": "a combat that fails for good",
    "P16": "a forced save beside the real result",
}
FAULTS = {
    "process_kill": "kill -9 of the process that is at work",
    "redis_kill": "Redis is killed and starts again over its AOF",
    "data_loss": "an older copy of Redis takes over",
    "postgres_kill": "PostgreSQL is killed and starts again",
    "network_cut": "the line goes dead and is cut",
    "duplicate": "the same document comes again, through both doors",
}

IMPOSSIBLE: dict[str, str] = {}
"""Cell -> why no such thing can happen."""

PLAYED = [
    f"{point}-{fault}"
    for point in POINTS
    for fault in FAULTS
    if f"{point}-{fault}" not in IMPOSSIBLE
]


def sampled(chance: random.Random) -> set[str]:
    """Names of tests: each point once, and each fault as often as any other."""
    faults = [*FAULTS] * (len(POINTS) // len(FAULTS) + 1)
    chance.shuffle(faults)
    cells = (f"{point}-{fault}" for point, fault in zip(POINTS, faults, strict=False))
    return {f"test_cell[{cell}]" for cell in cells}


ACCEPTANCE: dict[str, tuple[str, ...]] = {
    "AT1 crash at every operation": (
        "tests/chaos/test_crash_points.py::"
        "test_accepted_is_applied_once_wherever_a_process_is_killed",
    ),
    "AT2 crash again in recovery": (
        "tests/chaos/test_crash_points.py::"
        "test_accepted_is_applied_once_though_recovery_is_killed_too",
    ),
    "AT3 mixed faults": (
        "tests/chaos/test_storm.py::test_a_short_storm_leaves_nothing_to_find",
    ),
    "AT4 the suite can see a loss": (
        "tests/chaos/test_broken_variants.py::test_a_broken_variant_is_caught",
        "tests/chaos/test_lost_replies.py::"
        "test_a_message_lost_on_its_way_is_seen_as_lost_and_repeating_it_settles_once",
    ),
    "AT5 a ring lost between broker and worker": (
        "tests/chaos/test_lost_replies.py::"
        "test_a_ring_lost_between_broker_and_worker_costs_a_beat",
    ),
    "AT6 the reply to COMMIT lost": (
        "tests/chaos/test_lost_replies.py::"
        "test_a_commit_whose_reply_is_lost_is_one_row_with_its_effects",
    ),
    "AT7 the reply to a publish lost": (
        "tests/chaos/test_lost_replies.py::"
        "test_a_publish_whose_reply_is_lost_is_two_messages_and_one_application",
    ),
    "AT8 a storm of duplicates": (
        "tests/integration/test_concurrency.py::"
        "test_storm_of_duplicates_from_eight_processes_is_applied_once",
    ),
    "AT9 any order of arrival": (
        "tests/integration/test_changes.py::test_any_order_of_arrival_ends_the_same",
        "tests/unit/test_combat_plan_properties.py::"
        "test_without_shortages_combats_may_be_settled_in_any_order",
    ),
    "AT10 kill -9 and signals under load": (
        "tests/chaos/test_storm.py::test_a_short_storm_leaves_nothing_to_find",
    ),
    "AT11 Redis killed, and down for long": (
        "tests/chaos/test_outages.py::test_redis_may_be_killed_while_fights_come_in",
        "tests/chaos/test_outages.py::"
        "test_redis_may_be_down_for_longer_than_a_finished_session_lives",
    ),
    "AT12 a frozen Redis is refused in time": (
        "tests/chaos/test_held_up.py::"
        "test_a_frozen_redis_is_refused_and_the_fight_is_submitted_again",
        "tests/chaos/test_engine_calls.py::test_a_frozen_redis_is_told_in_time",
        "tests/chaos/test_engine_calls.py::test_no_call_holds_up_the_event_loop",
    ),
    "AT13 Redis out of memory": (
        "tests/chaos/test_held_up.py::"
        "test_a_full_redis_refuses_and_what_it_accepted_is_settled_after_relief",
    ),
    "AT14 a replica is promoted": (
        "tests/chaos/test_engine_calls.py::"
        "test_a_result_that_no_replica_has_is_not_accepted",
    ),
    "AT15 PostgreSQL goes away": (
        "tests/chaos/test_outages.py::test_postgres_may_go_away_at_any_time",
    ),
    "AT16 a half-open client holds a lock": (
        "tests/chaos/test_held_up.py::"
        "test_a_half_open_client_holds_up_its_own_character_and_nobody_else",
    ),
    "AT17 no deadlock leaves": (
        "tests/integration/test_concurrency.py::"
        "test_combats_sharing_players_in_any_order_never_deadlock",
    ),
    "AT18 poison": (
        "tests/chaos/test_poison.py::"
        "test_a_poison_document_fails_alone_and_all_others_are_processed",
    ),
    "AT19 any payload ends somewhere": (
        "tests/integration/test_payload_table.py::"
        "test_any_json_ends_as_processed_failed_or_rejected",
        "tests/integration/test_payload_table.py::"
        "test_any_json_leaves_the_worker_alive",
    ),
    "AT20 messages that cannot be read": (
        "tests/chaos/test_held_up.py::"
        "test_messages_that_no_worker_can_read_harm_nobody_else",
    ),
    "AT21 a person's replay": (
        "tests/integration/admin/test_replay.py::"
        "test_admin_fixes_the_cause_and_the_replay_settles_once",
        "tests/integration/admin/test_replay.py::test_second_click_changes_nothing",
        "tests/integration/admin/test_replay.py::"
        "test_replay_racing_a_redelivery_settles_once",
    ),
    "AT22 a forced save races the real result": (
        "tests/integration/test_sweep_sessions.py::"
        "test_of_a_forced_and_a_late_result_exactly_one_counts",
    ),
    "AT23 another document for a session": (
        "tests/integration/test_concurrency.py::"
        "test_two_bodies_of_one_session_at_once_are_one_combat_and_one_conflict",
    ),
    "AT24 reconcile finds corruptions": (
        "tests/integration/test_reconcile_tables.py::"
        "test_a_corruption_is_found_as_what_it_is",
        "tests/integration/test_reconcile_redis.py::"
        "test_a_leftover_is_found_as_what_it_is",
    ),
    "AT25 production refuses what may lose": (
        "tests/integration/test_checks.py::"
        "test_celery_settings_that_lose_messages_are_refused",
        "tests/integration/test_checks.py::"
        "test_production_refuses_a_redis_that_forgets",
        "tests/integration/test_checks.py::"
        "test_no_worker_starts_where_a_commit_may_get_lost",
    ),
}
"""Acceptance test -> the tests that stand for it."""
