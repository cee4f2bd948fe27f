"""As somebody who reaches the web server: with no token, a wrong one, or a lesser one.

Beside tests/integration/test_gate.py, which measures the gate by itself.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from combat_history.api import openapi
from combat_history.callers import Scope
from tests.attack.stack import TOKENS, Stack, request
from tests.attack.test_redis import must_have_failed
from tests.support.documents import HERO, hero_fight

pytestmark = pytest.mark.django_db

TIMES = int(os.environ.get("ATTACK_TIMES", "1"))
MIB = 1024 * 1024

JSON = "Content-Type: application/json"
WRONG = [
    (),
    ("Authorization: Bearer",),
    ("Authorization: Bearer  ",),
    ("Authorization: Bearer null",),
    (f"Authorization: Basic {TOKENS[Scope.RESULTS_READ]}",),
    (f"Authorization: Bearer {TOKENS[Scope.RESULTS_READ][:-1]}",),
    (f"Authorization: Bearer {TOKENS[Scope.RESULTS_READ].upper()}",),
    (f"Authorization: Bearer {'x' * 8000}",),
    ("Authorization: Bearer \xff\xfe",),
    (f"Cookie: Authorization={TOKENS[Scope.RESULTS_READ]}",),
]
REFUSED = {400, 401, 403, 404, 405, 408, 413, 414, 431}
LED_AWAY = {301, 302}


def calls() -> Iterator[tuple[str, str, Scope, bytes]]:
    """Method, path, scope and a body of each call that asks for a token."""
    forged = json.dumps(hero_fight(gold_gained=10**6)).encode()
    for path, methods in openapi.document()["paths"].items():
        for method, described in methods.items():
            for needed in described["security"]:
                own = path.format(
                    session_id=uuid4(),
                    character_id=HERO,
                    item_id="forged",
                    balance_id="forged",
                )
                body = b"" if method == "get" else forged
                (scope,) = needed["bearer"]
                yield method.upper(), f"{own}?char_id={HERO}", Scope(scope), body


def bearer(scope: Scope) -> str:
    return f"Authorization: Bearer {TOKENS[scope]}"


def test_no_wrong_token_lets_anybody_in(stack: Stack) -> None:
    for method, path, _, body in calls():
        for lines in WRONG:
            status, told = stack.answer(request(method, path, JSON, *lines, body=body))
            assert status in {400, 401}, (method, path, lines, told)


def test_a_token_does_what_its_scope_says_and_nothing_else(stack: Stack) -> None:
    for method, path, needed, body in calls():
        for scope in set(Scope) - {needed}:
            lines = (JSON, bearer(scope))
            status, told = stack.answer(request(method, path, *lines, body=body))
            assert (status, "missing_scope" in told) == (403, True), (path, scope, told)


def test_a_token_that_hands_over_gives_nothing_without_a_key(stack: Stack) -> None:
    documents = [hero_fight(gold_gained=10**6) for _ in range(4)]
    forged = ["", "X-Settlement-Signature: game-1:" + "0" * 64, "X-Forged: 1", "a: b"]
    for document, line in zip(documents, forged, strict=True):
        lines = [JSON, bearer(Scope.COMBATS_SUBMIT), *([line] if line else [])]
        body = json.dumps(document).encode()
        assert (
            stack.answer(request("POST", "/api/combats", *lines, body=body))[0] == 202
        )

    must_have_failed(documents)


@pytest.mark.parametrize(
    "path",
    ["/api/combats", "/api/openapi.json", "/admin/login/", "/admin/", "/livez", "/"],
)
def test_no_stranger_has_a_large_body_read(stack: Stack, path: str) -> None:
    announced = request("POST", path, f"Content-Length: {400 * MIB}")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    coming = request("POST", path, "Transfer-Encoding: chunked") + chunk

    for sent in (announced, coming):
        status, told = stack.answer(sent)
        assert status in REFUSED | LED_AWAY | {503}, told


ABSURD = [
    request("GET", "/admin/?" + "&".join(f"a{n}=1" for n in range(1500))),
    request("GET", "/admin/login/?next=" + "%00" * 500),
    request("GET", "/admin/login/?next=//evil.example/%0d%0aSet-Cookie:x=y"),
    request("GET", "/" + "a" * 20_000),
    request("GET", "/api/combats/" + "9" * 6000 + "/result?char_id=" + "9" * 6000),
    request("GET", "/%ff%fe/%00/..%2f..%2fetc/passwd"),
    request("GET", "/static/../../../../etc/passwd"),
    request("GET", "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
    request("GET", "http://evil.example/admin/login/"),
    request("GET", "/admin/login/").replace(b"127.0.0.1", b"evil.example"),
    request(
        "GET", "/admin/login/", "X-Forwarded-Host: evil.example", "X: " + "y" * 9000
    ),
    request("GET", "/metrics"),
    request("TRACE", "/admin/login/"),
    request("PROPFIND", "/"),
    request(
        "POST", "/admin/login/", "X-HTTP-Method-Override: DELETE", body=b"username=x"
    ),
    request("POST", "/admin/login/", "Content-Type: multipart/form-data", body=b"--"),
    request("POST", "/api/combats", "Content-Length: -1"),
    request("POST", "/api/combats", "Content-Length: 1e9"),
    request("POST", "/api/combats", "Content-Length: 1", "Content-Length: 400"),
    request("POST", "/admin/auth/user/add/", "Cookie: sessionid=' OR 1=1", body=b"a=b"),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    b"GET / HTTP/9.9\r\n\r\n",
    b"\r\n\r\n\r\n",
]


def test_absurd_requests_are_refused_by_name_and_tell_nothing(stack: Stack) -> None:
    for sent in ABSURD:
        status, told = stack.answer(sent)
        assert status < 500, (sent[:80], told)
        assert status in {0, 200} | REFUSED | LED_AWAY, (sent[:80], told)
        assert "Traceback" not in told
        assert "root:" not in told
        if status == 200:
            assert (
                b"evil" not in sent
                or "evil.example" not in told.partition("\r\n\r\n")[0]
            )


def test_slow_senders_hold_up_nobody(stack: Stack) -> None:
    """Heads that never end, and bodies that never come, by every address."""
    slow = [
        b"GET /livez HTTP/1.1\r\nHost: ",
        request("POST", "/admin/login/", "Content-Length: 1000") + b"x",
        request("POST", "/api/combats", "Content-Length: 1000") + b"x",
        request("POST", "/livez", "Transfer-Encoding: chunked") + b"5\r\nab",
    ]
    with ExitStack() as opened:
        for number in range(min(100 * TIMES, 400)):
            line = socket.create_connection(("127.0.0.1", stack.web.port), timeout=30)
            opened.enter_context(line).sendall(slow[number % len(slow)])

        for path in ("/readyz", "/admin/login/"):
            assert stack.answer(request("GET", path))[0] == 200
        form = request("POST", "/admin/login/", body=b"username=x&password=y")
        assert stack.answer(form)[0] == 403, "Django's, for it has no CSRF token"
