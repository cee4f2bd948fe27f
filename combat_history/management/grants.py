"""What each PostgreSQL role may do, as SQL. The owner migrates, prunes and grants.

Nobody else makes or empties a table, and nobody deletes history, ledger or audit:
triggers guard those against mistakes, the grants against whoever runs as the program.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from django.conf import settings
from psycopg import sql

PREFIX = "settlement"

READ = "SELECT"
ADD = "SELECT, INSERT"
CHANGE = "SELECT, INSERT, UPDATE"
OWN = "SELECT, INSERT, UPDATE, DELETE"


class Roles(NamedTuple):
    """For each role: of a table what it may do there, else its own name."""

    worker: str = ""
    web: str = ""
    reporter: str = ""


TABLES = {
    # Append-only, the index of players aside: a correction may name others, and so may
    # the document that an engine has signed.
    "combat_history": Roles(CHANGE, CHANGE, READ),
    "combat_participants": Roles(
        "SELECT, INSERT, DELETE", "SELECT, INSERT, DELETE", READ
    ),
    "combat_replay": Roles(ADD, ADD, READ),
    "combat_revisions": Roles(ADD, ADD, READ),
    # Forgetting is the owner's; the triggers of documents ask whether it was recorded.
    "combat_redactions": Roles(READ, READ, READ),
    "settlement_ledger": Roles(ADD, ADD, READ),
    "settlement_failures": Roles(ADD, ADD, READ),
    "settlement_discrepancies": Roles(ADD, ADD, READ),
    "settlement_events": Roles(ADD, ADD, READ),
    "event_publications": Roles(CHANGE, READ, READ),
    "audit_log": Roles(ADD, ADD),
    # The world, and how it was reached.
    "characters": Roles(CHANGE, CHANGE, READ),
    "character_external_ids": Roles(READ, OWN),
    "inventory": Roles(OWN, OWN, READ),
    "item_templates": Roles(READ, CHANGE, READ),
    "balances": Roles(CHANGE, CHANGE, READ),
    "balance_templates": Roles(READ, CHANGE, READ),
    "applied_operations": Roles(ADD, ADD, READ),
    "operations": Roles(READ, CHANGE, READ),
    "scenario_sessions": Roles(CHANGE, READ, READ),
    "settlement_attempts": Roles(CHANGE, READ, READ),
    "minute_counts": Roles(CHANGE, CHANGE, READ),
    "economy_days": Roles(CHANGE, READ, READ),
    "economy_earners": Roles(OWN, READ, READ),
    "economy_progress": Roles(CHANGE, READ, READ),
    # What waits for people, and what they decide.
    "parked_operations": Roles(CHANGE, CHANGE),
    "rejected_payloads": Roles(CHANGE, CHANGE),
    "replay_requests": Roles(CHANGE, CHANGE, READ),
    "replay_batches": Roles(CHANGE, OWN, READ),
    "replay_batch_items": Roles(CHANGE, OWN, READ),
    # A worker measures what is usual, and neither makes a rule nor switches one.
    "review_rules": Roles(
        "SELECT, UPDATE (usual_p50, usual_p99, measured_at)", CHANGE, READ
    ),
    "settlement_control": Roles(CHANGE, CHANGE, READ),
    "triage": Roles("", CHANGE),
    # Who may call the HTTP API: the web server's alone.
    "api_tokens": Roles("", CHANGE),
    # Who they are. A worker asks what the person behind a batch may do.
    "auth_user": Roles(READ, OWN),
    "auth_group": Roles(READ, OWN),
    "auth_permission": Roles(READ, READ),
    "auth_user_groups": Roles(READ, OWN),
    "auth_user_user_permissions": Roles(READ, OWN),
    "auth_group_permissions": Roles(READ, OWN),
    "django_content_type": Roles(READ, READ),
    "django_session": Roles("", OWN),
    # Goes with its user; what counts is in the audit.
    "django_admin_log": Roles("", "SELECT, INSERT, DELETE"),
    "django_migrations": Roles(READ, READ, READ),
    # Views.
    "combat_history_full": Roles(READ, READ, READ),
    "combat_history_applied": Roles(READ, READ, READ),
}

SEQUENCES = "inventory_id_seq", "settlement_events_id_seq"
"""Those that are asked by name: rows get their ids before they are written, and how far
events are complete depends on the last one."""

CREATE_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN
        CREATE ROLE {role} LOGIN;
    END IF;
END $$"""

# Of a database that is ours alone; in one of a game its own programs may need these.
ALONE = """
REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC"""

# Beside a game's tables: names are found in our schema and nowhere else.
BESIDE = "ALTER ROLE {role} IN DATABASE {database} SET search_path = {schema}"

BASICS = """
GRANT CONNECT ON DATABASE {database} TO {worker}, {web}, {reporter};
GRANT USAGE ON SCHEMA {schema} TO {worker}, {web}, {reporter};
GRANT USAGE ON SEQUENCE {sequences} TO {worker}, {web};
ALTER ROLE {reporter} SET default_transaction_read_only = on;
ALTER ROLE {reporter} SET statement_timeout = '60s'"""

# The limits of a session are the role's as well: behind PgBouncer nobody else says so.
LIMITS = """
ALTER ROLE {role} SET lock_timeout = {lock_timeout};
ALTER ROLE {role} SET statement_timeout = '10s';
ALTER ROLE {role} SET idle_in_transaction_session_timeout = '15s';
ALTER ROLE {role} SET synchronous_commit = on"""

# What a migration makes serves at once; then `TABLES` says what exactly it is for.
LATER = """
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema}
    GRANT SELECT, INSERT, UPDATE ON TABLES TO {worker}, {web};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema}
    GRANT USAGE ON SEQUENCES TO {worker}, {web}"""


def role_names(prefix: str = PREFIX) -> Roles:
    return Roles(*(f"{prefix}_{role}" for role in Roles._fields))


def statements(
    names: Roles,
    database: str,
    tables: Collection[str],
    *,
    schema: str = "public",
    games_own: Collection[str] = (),
) -> Iterator[sql.Composed]:
    """For the owner, in one transaction, as often as one likes.

    `tables`: those that exist; what is not in `TABLES` is left alone. `schema`: where
    they are, which is a game's database if it is not public. `games_own`: tables of its
    apps, of which worker and web may do everything but make or empty them.
    """
    identifiers = {role: sql.Identifier(name) for role, name in names._asdict().items()}
    where = {"database": sql.Identifier(database), "schema": sql.Identifier(schema)}
    for name in names:
        yield sql.SQL(CREATE_ROLE).format(name=name, role=sql.Identifier(name))
    if schema == "public":
        yield sql.SQL(ALONE).format(**where)
    else:
        for role in identifiers.values():
            yield sql.SQL(BESIDE).format(role=role, **where)
    sequences = sql.SQL(", ").join(map(sql.Identifier, SEQUENCES))
    yield sql.SQL(BASICS).format(sequences=sequences, **where, **identifiers)
    lock_timeout = sql.Literal(f"{settings.LOCK_TIMEOUT_MS}ms")
    for name in ("worker", "web"):
        yield sql.SQL(LIMITS).format(role=identifiers[name], lock_timeout=lock_timeout)
    for table in sorted(TABLES.keys() & set(tables)):
        yield from _of_table(table, names, TABLES[table])
    for table in sorted(set(games_own) & set(tables)):
        yield from _of_table(table, names, Roles(OWN, OWN, READ))
    yield sql.SQL(LATER).format(**where, **identifiers)


def _of_table(table: str, names: Roles, may: Roles) -> Iterator[sql.Composed]:
    revoke = "REVOKE ALL ON {} FROM {}, {}, {}"
    yield sql.SQL(revoke).format(
        sql.Identifier(table), *(sql.Identifier(name) for name in names)
    )
    for name, rights in zip(names, may, strict=True):
        if rights:
            yield sql.SQL("GRANT {} ON {} TO {}").format(
                sql.SQL(rights), sql.Identifier(table), sql.Identifier(name)
            )
