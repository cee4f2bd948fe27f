"""Emptying the tables between tests, at a fraction of what TRUNCATE costs.

TRUNCATE gives each of forty tables new files; a test leaves rows in five of them. And
content types and permissions are the same for all tests: they stay, and nobody asks
whether they are all there, which took longer than many a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.core.management.commands import flush
from django.db.backends.postgresql.operations import DatabaseOperations
from django.test import TransactionTestCase

KEPT = frozenset({"django_content_type", "auth_permission"})

LARGE_BYTES = 1_000_000

GUARDED = (
    "audit_log",
    "combat_history",
    "combat_redactions",
    "combat_revisions",
    "operations",
    "settlement_events",
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
    """Wherever Django flushes in this process.

    The connection stays open, too: a new one reads the catalogue anew for every table.
    """
    _replace(DatabaseOperations, "sql_flush", _sql_flush)
    _replace(flush, "emit_post_migrate_signal", lambda *_: None)
    _replace(TransactionTestCase, "_should_reload_connections", lambda _: False)


def _replace(owner: object, name: str, by: Callable[..., object]) -> None:
    assert hasattr(owner, name), f"Django has no {name} any more"
    setattr(owner, name, by)


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
    return [
        # What a test SET on its connection ends with it; the rest is as Django has it.
        "RESET ALL",
        f"SET TimeZone TO '{self.connection.timezone_name}'",
        EMPTY.format(**literals, large=LARGE_BYTES),
    ]


def _literals(names: Iterable[str]) -> str:
    # Characters stay as long as the ledger names them.
    last = sorted(names, key=lambda name: (name == "characters", name))
    return ", ".join(f"'{name}'" for name in last)
