"""What a web server refuses before Django has to read it, over plain sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.ids import TOKEN
from tests.support.web import Web, running_web

# Without a test that says so no database is made, and the server is never ready.
pytestmark = pytest.mark.django_db

REQUEST_SECONDS = 1
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def web(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    log = tmp_path_factory.mktemp("gate") / "uvicorn.log"
    with running_web(log, SETTLEMENT_REQUEST_SECONDS=str(REQUEST_SECONDS)) as web:
        yield web


def connected(web: Web) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), timeout=10)


def head(path: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]
    ).encode()


BEARER = f"Authorization: Bearer {TOKEN}"


def answer(line: socket.socket) -> str:
    """All that comes until the server closes the connection."""
    told = b""
    while part := line.recv(65536):
        told += part
    return told.decode()


def answer_to(web: Web, sent: bytes) -> str:
    with connected(web) as line:
        line.sendall(sent)
        return answer(line)


def test_a_body_is_not_waited_for_where_its_token_is_not_known(web: Web) -> None:
    announced = head("/api/combats", f"Content-Length: {400 * MIB}")

    told = answer_to(web, announced)

    assert told.startswith("HTTP/1.1 401 ")
    assert "WWW-Authenticate: Bearer" in told or "www-authenticate: Bearer" in told


def test_a_body_that_says_it_is_too_large_is_not_waited_for(web: Web) -> None:
    told = answer_to(web, head("/api/combats", BEARER, f"Content-Length: {400 * MIB}"))

    assert told.startswith("HTTP/1.1 413 ")
    assert '"code":"too_large"' in told


def test_a_body_that_turns_out_too_large_is_cut(web: Web) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = head("/api/combats", BEARER, "Transfer-Encoding: chunked") + chunk * 17

    assert answer_to(web, sent).startswith("HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/livez", "/static/admin/css/base.css", "/nowhere"])
def test_what_takes_no_body_is_sent_none(web: Web, path: str) -> None:
    told = answer_to(web, head(path, f"Content-Length: {MIB}"))

    assert told.startswith("HTTP/1.1 413 ")


def test_a_body_that_does_not_come_is_given_up(web: Web) -> None:
    begun = time.monotonic()

    told = answer_to(web, head("/admin/login/", "Content-Length: 1000") + b"x")

    assert told.startswith("HTTP/1.1 408 ")
    assert time.monotonic() - begun < REQUEST_SECONDS + 5


def test_first_lines_that_never_end_are_given_up(web: Web) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(web)) for _ in range(40)]
        for _ in range(3):
            for line in lines:
                line.sendall(b"GET /livez HTTP/1.1\r\n"[:7])
            time.sleep(0.1)

        assert {answer(line).partition("\r\n")[0] for line in lines} <= {
            "",
            "HTTP/1.1 400 ",
            "HTTP/1.1 400 Bad Request",
        }


def test_slow_bodies_hold_up_neither_memory_nor_the_others(web: Web) -> None:
    slow = head("/admin/login/", "Content-Length: 1000") + b"x"
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(web)) for _ in range(40)]
        for line in lines:
            line.sendall(slow)

        assert web.ask("/livez")[0] == 200
        statuses = [answer(line).split()[1] for line in lines]

    assert set(statuses) == {"408", "503"}
    assert statuses.count("408") == 20


def test_a_connection_serves_one_request_after_the_other(web: Web) -> None:
    ask = head("/livez", method="GET")
    with connected(web) as line:
        for _ in range(2):
            line.sendall(ask)
            told = b""
            # Head and body may come apart.
            while not told.endswith(b'"ok"}'):
                told += line.recv(65536)
            assert told.startswith(b"HTTP/1.1 200 ")
            time.sleep(REQUEST_SECONDS * 1.2)


@pytest.mark.parametrize(
    "path", ["/admin/login/", "/api/nowhere", "/livez", "/static/admin/css/base.css"]
)
def test_every_page_says_what_it_may_load(web: Web, path: str) -> None:
    told = answer_to(web, head(path, "Connection: close", method="GET")).lower()

    assert "content-security-policy: default-src 'self';" in told
    assert "frame-ancestors 'none'" in told
