"""Emptying the tables between tests, at a fraction of what TRUNCATE costs.

TRUNCATE gives each of forty tables new files; a test leaves rows in five of them. And
content types and permissions are the same for all tests: making them anew took longer
than many a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.backends.postgresql.operations import DatabaseOperations

KEPT = frozenset({"django_content_type", "auth_permission"})

LARGE_BYTES = 1_000_000

GUARDED = (
    "audit_log",
    "combat_history",
    "combat_revisions",
    "settlement_failures",
    "settlement_ledger",
)
"""Their triggers forbid a DELETE to everybody but the next test."""

EMPTY = """
DO $$
DECLARE name text; has_rows boolean;
BEGIN
    -- Autovacuum lets go after a second, which is as long as a test waits for a lock.
    SET LOCAL lock_timeout = '30s';
    FOREACH name IN ARRAY ARRAY[{tables}] LOOP
        -- What a test of large tables leaves behind, every later test would read.
        IF pg_relation_size(name::regclass) > {large} THEN
            EXECUTE format('TRUNCATE %I CASCADE', name);
            EXECUTE format('ANALYZE %I', name);
        END IF;
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO has_rows;
        CONTINUE WHEN NOT has_rows;
        IF name = ANY (ARRAY[{guarded}]) THEN
            EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', name);
            EXECUTE format('DELETE FROM %I', name);
            EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', name);
        ELSE
            EXECUTE format('DELETE FROM %I', name);
        END IF;
        -- What a test of large tables made the planner believe, figures believe, too.
        IF (SELECT reltuples FROM pg_class WHERE oid = name::regclass) > 1000 THEN
            EXECUTE format('ANALYZE %I', name);
        END IF;
    END LOOP;
END $$
"""


def use_deletes() -> None:
    """Wherever Django flushes in this process."""
    setattr(DatabaseOperations, "sql_flush", _sql_flush)  # noqa: B010 -- typed otherwise


def _sql_flush(
    self: DatabaseOperations,
    style: Any,
    tables: Sequence[str],
    *,
    reset_sequences: bool = False,
    allow_cascade: bool = False,
) -> list[str]:
    emptied = set(tables) - KEPT
    if not emptied:
        return []
    literals = {"tables": _literals(emptied), "guarded": _literals(GUARDED)}
    return [EMPTY.format(**literals, large=LARGE_BYTES)]


def _literals(names: Iterable[str]) -> str:
    # Characters stay as long as the ledger names them.
    last = sorted(names, key=lambda name: (name == "characters", name))
    return ", ".join(f"'{name}'" for name in last)
