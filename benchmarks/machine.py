"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.servers import Servers

SETTINGS = ("fsync", "synchronous_commit", "shared_buffers", "max_wal_size")
PACKAGES = ("Django", "celery", "kombu", "redis", "psycopg", "pydantic")


def facts(servers: Servers) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0))
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}"
    return {
        "machine": f"{_processor()}, {cores} cores, {gib:.0f} GiB, {system}",
        "load before": "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
        "PostgreSQL": _postgres(servers),
        "Redis": _redis(servers),
        "Python": f"{platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _postgres(servers: Servers) -> str:
    with servers.connect() as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), "
            + ", ".join(f"current_setting('{name}')" for name in SETTINGS)
        ).fetchone()
    assert row is not None
    settings = ", ".join(map(" ".join, zip(SETTINGS, row[1:], strict=True)))
    return f"{row[0]}, {settings}"


def _redis(servers: Servers) -> str:
    with servers.redis() as client:
        server = client.info("server")
        aof = client.info("persistence")["aof_enabled"]
    return f"{server['redis_version']}, append-only file {'on' if aof else 'off'}"
