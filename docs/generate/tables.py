"""docs/reference/tables.md, from the models and the rules in the migrations."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.apps import apps
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader

from docs.generate.markdown import code, prose, table, whole_page

ABOUT = """
Django's models and migrations in `combat_history` own every table. Rules that stand
here are PostgreSQL's own: no code can step over them. `manage.py reconcile` proves what
a constraint cannot say.

`combat_history_full` (view) joins a combat's document with its fight log,
`combat_history_applied` (view) with the document of the revision that is applied.
"""
TRIGGER = re.compile(
    r"CREATE TRIGGER (\w+)\s+(BEFORE|AFTER) ([A-Z ]+?)(?: OF \w+)? ON (\w+)"
)


def page() -> str:
    parts = [_table(model) for model in _models()]
    return whole_page("Tables", prose(ABOUT), *parts)


def _models() -> list[type[models.Model]]:
    found = apps.get_app_config("combat_history").get_models()
    return sorted(found, key=lambda model: model._meta.db_table)


def _table(model: type[models.Model]) -> str:
    meta = model._meta
    rules = [code(one.name) for one in meta.constraints]
    indexes = [code(index.name) for index in meta.indexes]
    triggers = [
        f"{code(name)} ({when.lower()})" for name, when in _triggers(meta.db_table)
    ]
    return "\n\n".join(
        filter(
            None,
            [
                f"## {meta.db_table}",
                prose(model.__doc__),
                table(("column", "type", "default", "meaning"), _columns(model)),
                _listed("Constraints", rules),
                _listed("Triggers", triggers),
                _listed("Indexes beside the primary key", indexes),
            ],
        )
    )


def _columns(model: type[models.Model]) -> Iterator[tuple[str, str, str, str]]:
    for field in model._meta.local_concrete_fields:
        if not field.column:
            continue  # a key of several columns is none itself
        kind = str(field.db_type(connection)) + (", null" if field.null else "")
        yield code(field.column), kind, _default(field), _meaning(field)


def _default(field: models.Field[object, object]) -> str:
    if not field.has_db_default():
        return ""
    value = field.db_default
    if isinstance(value, models.Value):
        return code(repr(value.value))
    return code("now()") if type(value).__name__ == "Now" else code(value)


def _meaning(field: models.Field[object, object]) -> str:
    key = "primary key. " if field.primary_key else ""
    of = field.related_model
    to = f"references {code(of._meta.db_table)}. " if isinstance(of, type) else ""
    values = [code(value) for value, _ in field.choices or ()]
    one_of = f"one of {', '.join(values)}. " if values else ""
    return f"{key}{to}{one_of}{field.help_text}".strip()


def _listed(title: str, names: list[str]) -> str:
    return f"{title}: {', '.join(names)}." if names else ""


def _triggers(of: str) -> list[tuple[str, str]]:
    return sorted(
        {
            (name, f"{moment} {event}")
            for name, moment, event, on in _all_triggers()
            if on == of
        }
    )


def _all_triggers() -> Iterator[tuple[str, str, str, str]]:
    loader = MigrationLoader(None)
    for (app, _), migration in sorted(loader.disk_migrations.items()):
        if app != "combat_history":
            continue
        for operation in migration.operations:
            if isinstance(operation, migrations.RunSQL):
                yield from TRIGGER.findall(str(operation.sql))
