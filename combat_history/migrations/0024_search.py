"""Words of names and reasons, by an index: in any case, without accents."""

from __future__ import annotations

import django.contrib.postgres.indexes
from django.db import migrations, models

import combat_history.models.search

# Built from what every PostgreSQL has: pg_trgm and unaccent may not be installed. Marks
# are taken off the letters they stand on, so that ё is е; whatever is no letter parts
# words, which the parser would take for addresses and paths.
WORDS = r"""
CREATE FUNCTION search_words(text) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN to_tsvector(
    'simple'::regconfig,
    regexp_replace(
        regexp_replace(lower(normalize($1, NFKD)), U&'[\0300-\036F]', '', 'g'),
        '[[:punct:][:space:]’‘«»“”„…№·—–]+', ' ', 'g'));
"""


def words_of(field: str, name: str) -> django.contrib.postgres.indexes.GinIndex:
    words = combat_history.models.search.SearchWords(field)
    return django.contrib.postgres.indexes.GinIndex(words, name=name)


class Migration(migrations.Migration):
    dependencies = [("combat_history", "0023_failure_subject")]

    operations = [
        migrations.RunSQL(WORDS, "DROP FUNCTION search_words(text)"),
        migrations.AddIndex("character", words_of("name", "characters_words")),
        migrations.AddIndex("auditentry", words_of("reason", "audit_log_words")),
        migrations.AddIndex(
            "externalid",
            models.Index(fields=["value"], name="character_external_ids_value"),
        ),
    ]
