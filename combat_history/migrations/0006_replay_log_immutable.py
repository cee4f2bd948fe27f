"""The replay log is a part of the document: it may be forgotten, never changed."""

from __future__ import annotations

from django.db import migrations

REPLAY_GUARD = """
CREATE FUNCTION combat_replay_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the replay log of combat % is immutable', OLD.session_id
        USING ERRCODE = 'check_violation',
              CONSTRAINT = 'combat_replay_immutable';
END $$;
CREATE TRIGGER combat_replay_guard BEFORE UPDATE ON combat_replay
    FOR EACH ROW EXECUTE FUNCTION combat_replay_guard();
"""


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0005_replay_batches")]

    operations = [
        migrations.RunSQL(
            REPLAY_GUARD,
            "DROP TRIGGER combat_replay_guard ON combat_replay;"
            "DROP FUNCTION combat_replay_guard();",
        ),
    ]
