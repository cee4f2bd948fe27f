"""Ports on loopback that stay with this process."""

from __future__ import annotations

import socket

from devservers.ports import HOST

_kept: list[socket.socket] = []


def free_port() -> int:
    """One that nobody listens on and that no stranger is given until we end.

    A socket of ours stays bound to it, without listening. The kernel then passes the
    port over when it chooses one, and lets in only who asks for this number with
    SO_REUSEADDR, as PostgreSQL and Redis do: also again, after a kill.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    _kept.append(holder)
    port: int = holder.getsockname()[1]
    return port
