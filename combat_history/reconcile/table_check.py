"""One rule over the tables: a statement that returns the rows breaking it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DataError, transaction

from combat_history.reconcile.report import EXAMPLES, Finding, Result

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper


@dataclass(frozen=True, slots=True)
class TableCheck:
    """`sql` yields one row per finding: columns `*_id` say where, `detail` says what.

    `detail` is filled in with the columns of the row. `given` holds the named
    subqueries that several statements share.
    """

    code: str
    says: str
    sql: str
    detail: str
    given: str = ""

    def run(self, cursor: CursorWrapper, parameters: Mapping[str, Any]) -> Result:
        # Ordered, so that the plan is made for all rows and not for the first ones.
        statement = (
            f"{self.given} SELECT *, count(*) OVER () FROM ({self.sql}) finding "  # noqa: S608 -- own text
            f"ORDER BY 1 LIMIT {EXAMPLES}"
        )
        try:
            # A savepoint: what fails here must not end the snapshot of the others.
            with transaction.atomic():
                cursor.execute(statement, parameters)
                rows = cursor.fetchall()
        except DataError as error:
            # Nothing this system writes is unreadable: that is a difference, too.
            unreadable = Finding(self.code, {}, f"not readable: {error}".strip())
            return Result(self.code, self.says, 1, [unreadable])
        names = [column.name for column in cursor.description or ()]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        count = found[0]["count"] if found else 0
        return Result(self.code, self.says, count, [self._finding(f) for f in found])

    def _finding(self, row: Mapping[str, Any]) -> Finding:
        ids = {
            name: str(value) if isinstance(value, UUID) else value
            for name, value in row.items()
            if name.endswith("_id")
        }
        return Finding(self.code, ids, self.detail.format_map(row))
