"""What a web server refuses before Django has to read it, over plain sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.contrib.auth.models import User
from django.test import Client

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


@pytest.mark.parametrize(
    "path",
    ["/livez", "/static/admin/css/base.css", "/nowhere", "/api/openapi.json"],
)
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


SLOW_SIGN_IN = head("/admin/login/", "Content-Length: 1000") + b"x"


def test_slow_bodies_hold_up_neither_memory_nor_the_others(web: Web) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(web)) for _ in range(60)]
        for line in lines:
            line.sendall(SLOW_SIGN_IN)

        assert web.ask("/livez")[0] == 200
        statuses = [answer(line).split()[1] for line in lines]

    assert set(statuses) == {"408"}


def test_slow_sign_ins_keep_nobody_from_signing_in(web: Web) -> None:
    """The one that has been coming for longest makes room."""
    form = head("/admin/login/", "Content-Length: 1", "Connection: close") + b"x"
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connected(web)).sendall(SLOW_SIGN_IN)

        told = answer_to(web, form)

    assert told.startswith("HTTP/1.1 403 "), "Django's, for it has no CSRF token"


def test_a_sign_in_is_short(web: Web) -> None:
    told = answer_to(web, head("/admin/login/", f"Content-Length: {MIB}"))

    assert told.startswith("HTTP/1.1 413 ")


@pytest.mark.parametrize("cookie", ["", "Cookie: sessionid=nobodys", "Cookie: =;;="])
def test_nobody_is_sent_to_sign_in_before_his_body_is_read(
    web: Web, cookie: str
) -> None:
    lines = [cookie] if cookie else []

    told = answer_to(
        web, head("/admin/auth/user/add/?x=1", *lines, "Content-Length: 9")
    )

    assert told.startswith("HTTP/1.1 302 ")
    assert "location: /admin/login/?next=/admin/auth/user/add/%3Fx%3D1" in told


@pytest.mark.django_db(transaction=True)
def test_who_is_signed_in_sends_what_a_page_may_hold(web: Web) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    session = f"Cookie: sessionid={client.cookies['sessionid'].value}"
    form = head("/admin/auth/user/add/", session, f"Content-Length: {MIB}")

    told = answer_to(web, form.replace(b"HTTP/1.1", b"HTTP/1.0") + b"x" * MIB)

    assert " 403 " in told.partition("\r\n")[0], "Django's, for it has no CSRF token"


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
