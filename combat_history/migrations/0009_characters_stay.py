"""A character that the ledger names is never deleted and keeps its id."""

from __future__ import annotations

from django.db import migrations

# A foreign key would be asked with every ledger line, which costs a tenth of the
# settlement; these are asked only where somebody deletes a character or changes its id.
# After the statement: whoever was settling holds the row, and his lines are seen.
CHARACTER_GUARD = """
CREATE FUNCTION characters_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE named bigint;
BEGIN
    SELECT id INTO named FROM gone
    WHERE EXISTS (SELECT FROM settlement_ledger WHERE character_id = gone.id)
    ORDER BY id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'character % is named by the ledger: it stays, under its id',
            named
            USING ERRCODE = 'foreign_key_violation',
                  CONSTRAINT = 'characters_named_by_ledger';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER characters_stay AFTER DELETE ON characters
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION characters_guard();

CREATE FUNCTION characters_keep_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'character % keeps its id', OLD.id
        USING ERRCODE = 'foreign_key_violation',
              CONSTRAINT = 'characters_named_by_ledger';
END $$;
CREATE TRIGGER characters_keep_id BEFORE UPDATE OF id ON characters
    FOR EACH ROW WHEN (NEW.id <> OLD.id) EXECUTE FUNCTION characters_keep_id();
"""

DROP_GUARD = """
DROP TRIGGER characters_stay ON characters;
DROP TRIGGER characters_keep_id ON characters;
DROP FUNCTION characters_guard();
DROP FUNCTION characters_keep_id();
"""


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0008_undone_lately")]

    operations = [migrations.RunSQL(CHARACTER_GUARD, DROP_GUARD)]
