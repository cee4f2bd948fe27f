"""Events: written with what they tell, read in order up to where they are complete."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.db.models.functions.datetime
from django.db import migrations, models

# Only the owner may delete, and what everybody has had a day to read.
GUARD = """
CREATE FUNCTION settlement_events_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.created_at < now() - interval '1 day' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'settlement_events is append-only'
        USING ERRCODE = 'check_violation',
              CONSTRAINT = 'settlement_events_append_only';
END $$;
CREATE TRIGGER settlement_events_guard BEFORE UPDATE OR DELETE ON settlement_events
    FOR EACH ROW EXECUTE FUNCTION settlement_events_guard();
"""

# A transaction that inserts holds, to its end, a lock that says below which id it has
# none: taken before its first id, so that nobody sees an id beyond without the lock.
# The lock is shared and hinders nobody. 24295 marks the keys that are these (16 bits),
# the rest of a key is an id. Both functions are VOLATILE: what they read is of now. The
# sequence is read before the locks: an id that is taken later lies beyond it.
HORIZON = """
CREATE FUNCTION settlement_events_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared((24295::bigint << 48) |
        coalesce(pg_sequence_last_value('settlement_events_id_seq'), 0));
    RETURN NULL;
END $$;
CREATE TRIGGER settlement_events_hold BEFORE INSERT ON settlement_events
    FOR EACH STATEMENT EXECUTE FUNCTION settlement_events_hold();

CREATE FUNCTION settlement_events_horizon() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
    held bigint;
BEGIN
    last := coalesce(pg_sequence_last_value('settlement_events_id_seq'), 0);
    SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) INTO held
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = 24295
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    RETURN least(last, held);
END $$;
"""

KINDS = [
    "combat.settled",
    "combat.failed",
    "combat.held",
    "combat.undone",
    "combat.voided",
    "combat.corrected",
    "operation.applied",
    "operation.undone",
    "discrepancy.recorded",
]


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0024_search")]

    operations = [
        migrations.CreateModel(
            name="EventPublication",
            fields=[
                (
                    "channel",
                    models.CharField(max_length=20, primary_key=True, serialize=False),
                ),
                ("published", models.BigIntegerField()),
                (
                    "at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
            ],
            options={
                "verbose_name": "publication of events",
                "verbose_name_plural": "publications of events",
                "db_table": "event_publications",
            },
        ),
        migrations.CreateModel(
            name="SettlementEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=40, verbose_name="kind")),
                ("session_id", models.UUIDField(null=True)),
                ("op_id", models.CharField(max_length=100, null=True)),
                (
                    "character_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), size=None
                    ),
                ),
                ("body", models.JSONField()),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="when",
                    ),
                ),
            ],
            options={
                "verbose_name": "event",
                "verbose_name_plural": "events",
                "db_table": "settlement_events",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", KINDS)),
                        name="settlement_events_known_kind",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("op_id__isnull", True), ("session_id__isnull", False)
                            ),
                            models.Q(
                                ("op_id__isnull", False), ("session_id__isnull", True)
                            ),
                            _connector="OR",
                        ),
                        name="settlement_events_of_one_thing",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARD, "DROP FUNCTION settlement_events_guard() CASCADE"),
        migrations.RunSQL(
            HORIZON,
            "DROP FUNCTION settlement_events_hold() CASCADE;"
            "DROP FUNCTION settlement_events_horizon();",
        ),
    ]
