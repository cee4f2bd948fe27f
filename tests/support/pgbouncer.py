"""PgBouncer in transaction mode before the tests' PostgreSQL, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.mortal import mortal
from tests.support.ports import free_port
from tests.support.proxy import proxy_to
from tests.support.waiting import wait_until

CONFIG = """
[databases]
* = host=127.0.0.1 port={behind} user={user}{password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""
"""Fewer sessions than clients: each transaction may get another one."""


@contextmanager
def pgbouncer(database_url: str) -> Iterator[str]:
    """The URL of the same database by way of it."""
    binary = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        pytest.skip("no package of PyPI brings it: apt-get install pgbouncer")
    parts = conninfo_to_dict(database_url)
    port, password = free_port(), parts.get("password")
    socket_dir, number = Path(str(parts["host"])), int(str(parts["port"]))
    # Not below pytest's own folder, which is closed to the user that it runs as.
    with (
        TemporaryDirectory(prefix="pgbouncer-") as folder,
        proxy_to(socket_dir, number) as behind,
    ):
        config = Path(folder) / "pgbouncer.ini"
        config.write_text(
            CONFIG.format(
                behind=behind.port,
                user=parts["user"],
                password=f" password={password}" if password else "",
                port=port,
            )
        )
        for above in (config, config.parent):
            above.chmod(0o755)
        # It refuses to run as root.
        identity = ["-u", "nobody"] if os.geteuid() == 0 else []
        server = subprocess.Popen(
            mortal(binary, *identity, str(config)), stderr=subprocess.DEVNULL
        )
        url = urlsplit(database_url)._replace(
            netloc=f"{parts['user']}@127.0.0.1:{port}", query=""
        )
        try:
            wait_until(lambda: _answers(url.geturl()), "PgBouncer answers")
            yield url.geturl()
        finally:
            server.terminate()
            server.wait()


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False
