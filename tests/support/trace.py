"""The PostgreSQL protocol as it went over the wire: how many statements were run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection
from psycopg.pq import Trace

# What the client sends to have something run; parsing and describing go along.
_RUN = re.compile(r"^F\t\d+\t(Query|Execute)\b", re.MULTILINE)


@contextmanager
def traced(path: Path) -> Iterator[None]:
    """Have libpq write every protocol message of this connection into `path`."""
    with path.open("w") as file:
        connection.ensure_connection()
        pgconn = connection.connection.pgconn
        pgconn.trace(file.fileno())
        pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        try:
            yield
        finally:
            pgconn.untrace()


def statements_in(path: Path) -> Counter[str]:
    return Counter(_RUN.findall(path.read_text()))
