"""Loopback ports: asking is not reserving, so whoever binds must be ready to move."""

from __future__ import annotations

import socket

from devservers.errors import EmbeddedError

HOST = "127.0.0.1"
SEARCHED = 200  # ports looked at above the wanted one


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: connections of a dead server linger in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def next_free(wanted: int) -> int:
    for port in range(wanted, min(wanted + SEARCHED, 65536)):
        if is_free(port):
            return port
    raise EmbeddedError(f"No free port on {HOST} from {wanted} on: stop some servers.")
