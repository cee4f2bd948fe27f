"""Pages whose cost does not grow with the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core import paginator
from django.db import connections
from django.db.models import QuerySet
from django.utils.functional import cached_property

if TYPE_CHECKING:
    Paginator = paginator.Paginator[Any]
else:
    Paginator = paginator.Paginator

MAX_ROWS = 10_000
"""Rows one list counts exactly and pages through; older ones are found by search."""


class EstimatedPaginator(Paginator):
    """Counts at most MAX_ROWS; of a large unfiltered table it tells the estimate."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        if self._is_whole_table() and (estimate := self._estimate()) > MAX_ROWS:
            return estimate
        return self.object_list.order_by().values("pk")[:MAX_ROWS].count()

    @cached_property
    def num_pages(self) -> int:
        # OFFSET reads all it skips: a far page would cost as much as the table.
        return min(super().num_pages, -(-MAX_ROWS // self.per_page))

    def _is_whole_table(self) -> bool:
        query = self.object_list.query
        return not query.where and not query.distinct and not query.is_sliced

    def _estimate(self) -> int:
        """Rows as of the last ANALYZE; -1 before the first."""
        table = self.object_list.model._meta.db_table
        with connections[self.object_list.db].cursor() as cursor:
            cursor.execute(
                "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
                [f'"{table}"'],
            )
            estimate: int = cursor.fetchone()[0]
        return estimate
