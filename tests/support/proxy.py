"""A TCP proxy on loopback that cuts, freezes, slows and loses replies on demand."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

CHUNK = 1 << 16


@dataclass(eq=False)
class Fault:
    """Strikes once, on the first bytes that contain `pattern`."""

    pattern: bytes
    on_request: bool
    holds: bool = False
    """Whether everything waits from then on, instead of a reply being lost."""
    passes: bool = True
    """Of one that holds: whether the bytes that it strikes on still go through."""
    struck: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Forwards a port of its own to `upstream`, started by construction.

    Upstream: a host, or the folder of PostgreSQL's socket, and a port.
    A connection whose upstream is down is closed, as the server would close it.
    """

    def __init__(self, upstream: tuple[str | Path, int]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._links: set[_Link] = set()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._delay_seconds = 0.0
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def is_used(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._links)

    def point_to(self, port: int) -> None:
        """Lead to another port from now on; who is connected has to come again."""
        self._upstream = (self._upstream[0], port)
        self.cut()

    def slow_down(self, seconds: float) -> None:
        """Hold up whatever passes for so long, until told zero."""
        self._delay_seconds = seconds

    def cut(self) -> None:
        """Close every connection now; new ones are welcome."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()

    def pause(self) -> None:
        """Become a black hole: connections are accepted, no byte moves."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def lose_reply(self, pattern: bytes) -> Fault:
        """The next reply that contains `pattern` is lost with its connection."""
        return self._plan(Fault(pattern, on_request=False))

    def lose_reply_to(self, pattern: bytes) -> Fault:
        """The next request that contains `pattern` is served, and its reply lost."""
        return self._plan(Fault(pattern, on_request=True))

    def hold_reply_to(self, pattern: bytes) -> Fault:
        """The next request that contains `pattern` is served; replies wait."""
        return self._plan(Fault(pattern, on_request=True, holds=True))

    def hold_request(self, pattern: bytes) -> Fault:
        """The next request that contains `pattern` waits, and all that comes after."""
        return self._plan(Fault(pattern, on_request=True, holds=True, passes=False))

    def hold_reply(self, pattern: bytes) -> Fault:
        """The next reply that contains `pattern` waits, and all that comes after."""
        return self._plan(Fault(pattern, on_request=False, holds=True, passes=False))

    def forget(self) -> None:
        """Faults that have not struck yet never will."""
        with self._lock:
            self._faults.clear()

    def close(self) -> None:
        # Wakes the thread that waits in accept; closing alone would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.resume()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _plan(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads = [t for t in self._threads if t.is_alive()]
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = _connect(*self._upstream)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            link = _Link(client, server)
            with self._lock:
                self._links.add(link)
            self._start(self._pump, link, client, server, True)
            self._start(self._pump, link, server, client, False)

    def _pump(
        self, link: _Link, source: socket.socket, sink: socket.socket, request: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._flowing.wait()
                if self._delay_seconds:
                    time.sleep(self._delay_seconds)
                if not request and link.mute:
                    link.mute.struck.set()
                    break
                fault = self._matching(data, request)
                if fault is not None and fault.holds:
                    self.pause()
                    fault.struck.set()
                    if not fault.passes:
                        self._flowing.wait()
                elif fault is not None and not request:
                    fault.struck.set()
                    break
                elif fault is not None:
                    link.mute = fault
                sink.sendall(data)
        link.cut()
        with self._lock:
            if link.is_done():
                self._links.discard(link)

    def _matching(self, data: bytes, request: bool) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.on_request == request and fault.pattern in data:
                    self._faults.remove(fault)
                    return fault
        return None


class _Link:
    """One proxied connection, with a pump in each direction."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._sockets = (client, server)
        self._pumps = 2
        self._lock = threading.Lock()
        self.mute: Fault | None = None
        """Set while a reply is awaited that is to be lost."""

    def cut(self) -> None:
        """Shut both sides down, which ends both pumps; callable at any time."""
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def is_done(self) -> bool:
        """Whether the calling pump was the last one, and so the sockets are closed."""
        with self._lock:
            self._pumps -= 1
            if self._pumps:
                return False
        for end in self._sockets:
            end.close()
        return True


def _connect(host: str | Path, port: int) -> socket.socket:
    if not str(host).startswith("/"):
        return socket.create_connection((str(host), port), timeout=5)
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(f"{host}/.s.PGSQL.{port}")
    except OSError:
        server.close()
        raise
    return server


def through(url: str, port: int) -> str:
    """The address of a server, as it is where a proxy leads there."""
    parts = urlsplit(url)
    login, _, _ = parts.netloc.rpartition("@")
    own = parts._replace(netloc=f"{login}@127.0.0.1:{port}", query="")
    return own.geturl()


@contextlib.contextmanager
def proxy_to(host: str | Path, port: int) -> Iterator[Proxy]:
    proxy = Proxy((host, port))
    try:
        yield proxy
    finally:
        proxy.close()
